"""Reads `model.bin`, the weights of a CTranslate2 folder, as views of the mapped file.

The layout, little-endian (https://github.com/OpenNMT/CTranslate2, python/ctranslate2/specs/model_spec.py):
u32 version, name of the specification, u32 revision of it, u32 count of variables; each variable: name, u8
rank, u32 for every dimension, u8 type, u32 bytes, data; then u32 count of aliases, each two names. A name
is u16 length, UTF-8 and a zero byte that the length includes. Versions 4 to 6 are identical in this
respect.

Sizes claimed by the file are compared with the available bytes before use: counts, names, ranks, data.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError

VERSIONS = range(4, 7)
_BFLOAT16 = 5
_TYPES: tuple[Any, ...] = (np.float32, np.int8, np.int16, np.int32, np.float16, np.uint16)
"""Types by their number in the file; the last is bfloat16, stored as its bits."""
_MAX_VARIABLES = 1 << 16  # large-v3 has 1,700
_MAX_NAME = 512
_MAX_RANK = 4


@dataclass(frozen=True, slots=True)
class Variable:
    """One array of the file, as its bits; `kind` is the number of its type."""

    kind: int
    bits: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions; () for a scalar."""
        return self.bits.shape

    @property
    def type(self) -> str:
        """Name of the type."""
        return "bfloat16" if self.kind == _BFLOAT16 else self.bits.dtype.name

    @property
    def quantised(self) -> bool:
        """Whether the values are integers with a scale."""
        return self.bits.dtype in (np.int8, np.int16, np.int32)

    def rows(self, start: int, stop: int) -> Variable:
        """Some rows, without a copy."""
        return Variable(self.kind, self.bits[start:stop])

    def numbers(self) -> NDArray[Any]:
        """The values: float32 for bfloat16, else the file's type."""
        if self.kind == _BFLOAT16:
            return (self.bits.astype(np.uint32) << 16).view(np.float32)
        return self.bits


@dataclass(frozen=True, slots=True)
class ModelBin:
    """A whole file: the name of the specification (`WhisperSpec`), arrays by name, names of one array."""

    specification: str
    variables: Mapping[str, Variable]
    aliases: Mapping[str, str]


def read_model_bin(path: Path) -> ModelBin:
    """Read `path`. Raises ModelError if it is truncated or invalid."""
    try:
        with path.open("rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return _model(_Cursor(data))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise ModelError(f"{path}: cannot be read ({error})") from error


class _Cursor:
    """A position in the file that moves forward, only over existing bytes."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def skip(self, count: int, what: str) -> int:
        """Skip `count` bytes; returns their offset."""
        if count > len(self.data) - self.at:
            raise ModelError(
                f"{what} at byte {self.at} needs {count} bytes, but {len(self.data) - self.at} are left: "
                "truncated, or not a CTranslate2 model"
            )
        start, self.at = self.at, self.at + count
        return start

    def number(self, layout: str, what: str) -> int:
        """One unsigned integer (`B`, `H` or `I`)."""
        start = self.skip(struct.calcsize(layout), what)
        return int(struct.unpack_from(f"<{layout}", self.data, start)[0])

    def name(self, what: str) -> str:
        """A name; its zero byte is its last."""
        length = self.number("H", what)
        if not 2 <= length <= _MAX_NAME:
            raise ModelError(f"{what} at byte {self.at} has {length} bytes; expected 2 to {_MAX_NAME}")
        start = self.skip(length, what)
        raw = self.data[start : self.at]
        if raw.find(b"\0") != length - 1:
            raise ModelError(f"{what} at byte {start} does not end with a zero byte")
        try:
            return raw[:-1].decode("utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(f"{what} at byte {start} is not text ({error.reason})") from error


def _model(cursor: _Cursor) -> ModelBin:
    version = cursor.number("I", "the version")
    if version not in VERSIONS:
        raise ModelError(
            f"version {version} of CTranslate2's format; expected {VERSIONS[0]} to {VERSIONS[-1]}: convert "
            "the model with a current CTranslate2, or it is not such a file"
        )
    specification = cursor.name("the specification's name")
    cursor.number("I", "the revision")
    variables: dict[str, Variable] = {}
    for _ in range(_count(cursor, "variables")):
        name = cursor.name("a variable's name")
        if name in variables:
            raise ModelError(f"variable {name} occurs twice")
        variables[name] = _variable(cursor, name)
    aliases = _aliases(cursor, variables)
    if cursor.at != len(cursor.data):
        raise ModelError(f"{len(cursor.data) - cursor.at} bytes follow the last alias; expected none")
    return ModelBin(specification, variables, aliases)


def _count(cursor: _Cursor, what: str) -> int:
    count = cursor.number("I", f"the count of {what}")
    if count > _MAX_VARIABLES:
        raise ModelError(f"{count} {what}; a Whisper has at most {_MAX_VARIABLES}")
    return count


def _variable(cursor: _Cursor, name: str) -> Variable:
    rank = cursor.number("B", f"the rank of {name}")
    if rank > _MAX_RANK:
        raise ModelError(f"variable {name} has {rank} dimensions; expected at most {_MAX_RANK}")
    shape = tuple(cursor.number("I", f"a dimension of {name}") for _ in range(rank))
    kind = cursor.number("B", f"the type of {name}")
    if kind >= len(_TYPES):
        raise ModelError(f"variable {name} has the unknown type {kind}")
    size = cursor.number("I", f"the size of {name}")
    elements = math.prod(shape)
    if size != elements * np.dtype(_TYPES[kind]).itemsize:
        raise ModelError(f"variable {name} has {size} bytes, which do not fit its shape {list(shape)}")
    start = cursor.skip(size, f"variable {name}")
    flat = np.frombuffer(cursor.data, np.uint8, size, start)
    return Variable(kind, flat.view(_TYPES[kind]).reshape(shape))


def _aliases(cursor: _Cursor, variables: Mapping[str, Variable]) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for _ in range(_count(cursor, "aliases")):
        alias, target = cursor.name("an alias"), cursor.name("an alias's variable")
        if alias in variables or alias in aliases or target not in variables:
            raise ModelError(f"alias {alias} for {target} does not name an existing variable")
        aliases[alias] = target
    return aliases

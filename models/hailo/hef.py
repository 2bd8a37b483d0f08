"""Reads the header of a HEF file (a network compiled for a Hailo chip) without the vendor's package.

HailoRT's Python API does not report the chip that a HEF was compiled for; it fails only when it configures
the device. The file begins with a big-endian header, followed by a protobuf whose field 1 holds the chip and
the compiler's version (layout from HailoRT's sources, tags 4.20 to 5.2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr_batch.manifests.errors import ModelError

MAGIC = 0x01484546
HEADER_BYTES = {0: 32, 1: 28, 2: 44, 3: 56}
ARCHITECTURES = {
    0: "hailo8-legacy",
    1: "hailo8",
    2: "hailo8r",
    3: "hailo8l",
    4: "hailo15m",
    5: "hailo10h",
    6: "hailo15l",
    103: "hailo15h",
}
RUNS = {"hailo8": ("hailo8", "hailo8r", "hailo8l"), "hailo8l": ("hailo8l",)}
"""The HEFs that a chip runs, best first; chips not listed run only their own."""


@dataclass(frozen=True, slots=True)
class HefHeader:
    """A HEF's chip (`arch`, as in ARCHITECTURES), DFC version (`compiler`) and header version."""

    arch: str
    compiler: str
    version: int


def runs_on(device: str) -> tuple[str, ...]:
    """The HEF architectures that chip `device` runs, best first."""
    return RUNS.get(device, (device,))


def read_header(path: Path) -> HefHeader:
    """Read and check the header of the HEF at `path`.

    Raises ModelError for a file that is not a HEF, has an unknown version, or is truncated.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ModelError(f"{path}: the HEF file cannot be read ({exc.strerror or exc})") from exc
    version, proto = _proto(path, data)
    try:
        head = next((value for number, value in _fields(proto) if number == 1), b"")
        if not isinstance(head, bytes):
            raise ValueError(head)
        fields = dict(_fields(head))
    except (IndexError, ValueError) as exc:
        raise ModelError(
            f"{path}: the HEF is damaged (its header message cannot be parsed); copy it again"
        ) from exc
    code, compiler = fields.get(1, 0), fields.get(3, b"")
    arch = ARCHITECTURES.get(code, f"unknown ({code})") if isinstance(code, int) else "unknown"
    return HefHeader(
        arch, compiler.decode("utf-8", "replace") if isinstance(compiler, bytes) else "", version
    )


def _proto(path: Path, data: bytes) -> tuple[int, bytes]:
    """The header version and the bytes of the protobuf after the header."""
    if len(data) < 12 or struct.unpack(">I", data[:4])[0] != MAGIC:
        raise ModelError(
            f"{path}: not a HEF file (it begins with {data[:4].hex() or 'nothing'}, a HEF with {MAGIC:08x}); "
            "expected the .hef that the Hailo compiler wrote"
        )
    version, size = struct.unpack(">II", data[4:12])
    if version not in HEADER_BYTES:
        raise ModelError(
            f"{path}: unknown HEF header version {version} (expected 0 to 3); "
            "compile with the DFC 3.x for Hailo-8/8L or 5.x for Hailo-10H"
        )
    start = HEADER_BYTES[version]
    if size == 0 or len(data) < start + size:
        raise ModelError(
            f"{path}: the HEF is damaged: {len(data)} bytes, expected {start + size}; copy it again"
        )
    return version, data[start : start + size]


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protobuf message; nested messages as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(data):
            raise ValueError("field beyond the end")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")

"""The models known by name: where they are published, under which licence, how large, for which languages.

This table was written without network access. Repository names and the int8 sizes were read in public
source code that uses them; sizes are rounded and may be some per cent off. No revision is pinned here and
no hash of the hub's files is claimed: `pull` asks the hub for the current revision, verifies what it sends
against the hashes the hub announces, and records both on first use, so that every later pull of the same
revision must give the same bytes (see `asr_batch.models.store.record`).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from asr_batch.manifests.errors import ModelError

Kind = Literal["bundle", "whisper-onnx", "whisper-source", "qwen3-onnx"]
"""What a model folder holds: `bundle` and the two `-onnx` kinds can be run, `whisper-source` is compiled."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that can be named on the command line.

    `parameters` in millions; `megabytes` is the rounded size of a pull (int8 files of an ONNX layout, float
    weights of a source); `window` in seconds; `languages` in words. `note` says for what it is chosen.
    """

    name: str
    repository: str
    kind: Kind
    licence: str
    parameters: int
    megabytes: int
    window: float
    languages: str
    note: str = ""


_SIZES: tuple[tuple[str, int, int, int], ...] = (  # name, million parameters, MB int8 ONNX, MB source
    ("tiny", 39, 44, 155),
    ("tiny.en", 39, 44, 155),
    ("base", 74, 80, 295),
    ("base.en", 74, 80, 295),
    ("small", 244, 253, 970),
    ("small.en", 244, 253, 970),
    ("medium", 769, 990, 3060),
    ("medium.en", 769, 990, 3060),
    ("large-v2", 1550, 1600, 6180),
    ("large-v3", 1550, 1600, 3090),
    ("large-v3-turbo", 809, 1090, 1620),
)
_ONNX_REPOSITORIES = {
    "medium": "onnx-community/whisper-medium-ONNX",
    "medium.en": "onnx-community/whisper-medium.en-ONNX",
    "large-v2": "Xenova/whisper-large-v2",
    "large-v3": "onnx-community/whisper-large-v3-ONNX",
}
_TIMESTAMPED = ("tiny", "tiny.en", "base", "base.en", "small", "small.en", "large-v3-turbo")


def _languages(size: str) -> str:
    if size.endswith(".en"):
        return "English"
    return "100 languages" if "v3" in size else "99 languages"


def _licence(size: str) -> str:
    return "MIT" if size == "large-v3-turbo" else "Apache-2.0"


def _whisper() -> list[KnownModel]:
    """Every Whisper size in the published ONNX layout, ready to run."""
    return [
        KnownModel(
            f"whisper-{size}",
            _ONNX_REPOSITORIES.get(size, f"onnx-community/whisper-{size}"),
            "whisper-onnx",
            _licence(size),
            parameters,
            int8,
            30.0,
            _languages(size),
        )
        for size, parameters, int8, _ in _SIZES
    ]


def _timestamped() -> list[KnownModel]:
    """The exports whose decoder also gives cross-attentions, which `--word-timestamps` needs."""
    return [
        KnownModel(
            f"whisper-{size}-timestamped",
            f"onnx-community/whisper-{size}_timestamped",
            "whisper-onnx",
            _licence(size),
            parameters,
            int8,
            30.0,
            _languages(size),
            "for word times",
        )
        for size, parameters, int8, _ in _SIZES
        if size in _TIMESTAMPED
    ]


def _sources() -> list[KnownModel]:
    """The weights as OpenAI publishes them: input of `models compile`, which makes the fastest form."""
    return [
        KnownModel(
            f"whisper-{size}-source",
            f"openai/whisper-{size}",
            "whisper-source",
            _licence(size),
            parameters,
            megabytes,
            30.0,
            _languages(size),
            "weights to compile",
        )
        for size, parameters, _, megabytes in _SIZES
    ]


_OTHERS: tuple[KnownModel, ...] = (
    KnownModel(
        "distil-small.en", "onnx-community/distil-small.en", "whisper-onnx", "MIT", 166, 175, 30.0, "English"
    ),
    KnownModel(
        "distil-large-v3.5",
        "onnx-community/distil-large-v3.5-ONNX",
        "whisper-onnx",
        "MIT",
        756,
        970,
        30.0,
        "English",
    ),
    KnownModel(
        "distil-small.en-source",
        "distil-whisper/distil-small.en",
        "whisper-source",
        "MIT",
        166,
        335,
        30.0,
        "English",
        "weights to compile",
    ),
    KnownModel(
        "distil-large-v3-source",
        "distil-whisper/distil-large-v3",
        "whisper-source",
        "MIT",
        756,
        1510,
        30.0,
        "English",
        "weights to compile",
    ),
    KnownModel(
        "qwen3-asr-0.6b",
        "andrewleech/qwen3-asr-0.6b-onnx",
        "qwen3-onnx",
        "Apache-2.0",
        780,
        2300,
        30.0,
        "30 languages",
        "int4 decoder",
    ),
    KnownModel(
        "qwen3-asr-1.7b",
        "andrewleech/qwen3-asr-1.7b-onnx",
        "qwen3-onnx",
        "Apache-2.0",
        2030,
        4500,
        30.0,
        "30 languages",
        "int4 decoder",
    ),
)

KNOWN: tuple[KnownModel, ...] = (*_whisper(), *_timestamped(), *_sources(), *_OTHERS)
"""All models with a name of their own; any other repository is pulled as `OWNER/NAME`."""

_BY_NAME = {model.name: model for model in KNOWN}


def find(name: str) -> KnownModel | None:
    """The known model of this name, or None."""
    return _BY_NAME.get(name)


def unknown(name: str, others: tuple[str, ...] = ()) -> ModelError:
    """The error for a name that is neither a path nor a known or stored model, with the nearest names."""
    near = difflib.get_close_matches(name, [*others, *_BY_NAME], n=3, cutoff=0.5)
    hint = f"; near names: {', '.join(near)}" if near else ""
    return ModelError(
        f"{name!r} is neither a folder nor a known model{hint}; `asr-batch models list` shows all names"
    )

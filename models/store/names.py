"""Names of models and their folders; without pulling."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from asr_batch.manifests.errors import ModelError

DEFAULT_ROOT = Path("~/.cache/asr-batch/models")
"""Default root of the model store."""

WEIGHTS = ".weights"
"""Folder of the store that keeps weights, from which bundles are rebuilt when their layout changes."""

BUNDLED = ("nano.en",)
"""Models in the package `asr_batch.models.bundled`."""

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME = re.compile(rf"{_PART}(/{_PART})?(@{_PART})?")


def split_name(name: str) -> tuple[str, str | None]:
    """Split `NAME@REVISION` into name and revision; raises ModelError for an invalid name."""
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"{name!r} is neither a folder nor the name of a model; expected an existing folder, NAME, "
            "NAME@REVISION or OWNER/NAME (`asr-batch models list` shows all names)"
        )
    base, _, revision = name.partition("@")
    return base, revision or None


def folder_name(name: str) -> str:
    """The name of the folder of model `name`."""
    split_name(name)
    return name.replace("/", "--")


def bundled_path(name: str) -> Path | None:
    """The folder of a bundled model, or None."""
    if name not in BUNDLED:
        return None
    folder = Path(str(files("asr_batch.models.bundled"))) / name
    return folder if folder.is_dir() else None

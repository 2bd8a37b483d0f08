"""Compiles weights to bundles, once: those of the store, and a cache by content for other folders."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from asr_batch.manifests.errors import ModelError
from asr_batch.models.store.errors import disk_errors
from asr_batch.models.store.layout import kind_of
from asr_batch.models.store.record import (
    Record,
    hash_files,
    model_files,
    now,
    read_json,
    sha256_of,
    write_record,
)

Say = Callable[[str], None]
BY_CONTENT = ".compiled"
"""Folder of the store for bundles of weights stored elsewhere, named by content."""
_BLOB = 64  # hexadecimal digits of a sha256, which is the name of large files in a hub cache


def compile_into(source: Path, target: Path, record: Record, precision: str, say: Say) -> Path:
    """Compile the weights in `source` to the bundle `target`; returns it. Raises ModelError.

    It appears once it is complete. If another process was faster, its bundle is used.
    """
    from asr_batch.models.whisper.compile.bundle import compile_bundle  # for the one run that compiles

    wanted = "int8" if precision == "auto" else precision
    say(f"{record.name}: compiling once ({wanted})")
    staging = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with disk_errors(str(target)):
            staging.parent.mkdir(parents=True, exist_ok=True)
            compile_bundle(source, staging, precision=wanted)
            write_record(staging, replace(record, kind="bundle", files=hash_files(staging)))
            if not target.is_dir():
                staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def compiled_by_content(root: Path, source: Path, precision: str, say: Say) -> Path:
    """The bundle of weights in a folder (or of a `.pt` file) outside the store; compiled if it is new."""
    target = root / BY_CONTENT / _content_key(source, precision)
    if target.is_dir() and is_current(target):
        return target
    shutil.rmtree(target, ignore_errors=True)
    record = Record(source.name, str(source), "local", "bundle", now())
    return compile_into(source, target, record, precision, say)


def is_current(bundle: Path) -> bool:
    """Whether this version reads the bundle; an older format is compiled again from the weights."""
    from asr_batch.models.whisper.bundle import FORMATS  # with numpy, which `--help` does without

    try:
        return read_json(bundle / "bundle.json").get("format") in FORMATS
    except (ModelError, AttributeError):
        return False


def _content_key(source: Path, precision: str) -> str:
    """Hash over names and contents of all files that affect the bundle, and over how it is compiled."""
    digest = hashlib.sha256(f"{precision}\n".encode())
    files = [source] if source.is_file() else [source / name for name in model_files(source)]
    for path in files:
        digest.update(f"{path.name} {_hash(path)}\n".encode())
    return f"{source.name[:40]}-{digest.hexdigest()[:16]}"


def _hash(path: Path) -> str:
    """SHA-256 of a file; in a hub cache it is the name of the link's target."""
    blob = path.resolve()
    if blob.parent.name == "blobs" and len(blob.name) == _BLOB:
        return blob.name
    return sha256_of(path)


def is_source(path: Path) -> bool:
    """Whether `path` is a folder of weights to compile, or an OpenAI checkpoint."""
    if path.is_file():
        return path.suffix in (".pt", ".pth")
    return path.is_dir() and kind_of(model_files(path)) in ("whisper-source", "ctranslate2", "openai")

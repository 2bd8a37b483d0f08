"""Resolves the audio column of a manifest to an absolute path or URL."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes, urljoin

SCHEMES = ("file", "s3", "http", "https")
EXPECTED = "a path, file://, s3:// or http(s)://"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

_PLAIN = re.compile(r"(?:[^/.\n][^/\n]*/)*[^/.\n][^/\n]*")
"""A relative path that is its own normal form."""


def scheme_of(text: str) -> str | None:
    """The URL scheme in lower case, or None for a plain path."""
    match = _SCHEME.match(text) if "://" in text else None
    return match.group(1).lower() if match else None


def is_remote(location: str) -> bool:
    """Whether a location must be downloaded (`s3://`, `http(s)://`)."""
    return scheme_of(location) in ("s3", "http", "https")


@dataclass(frozen=True, slots=True)
class Base:
    """The folder of a manifest: a local folder, or the URL of a remote manifest.

    A remote manifest may name only remote audio: `file://` and absolute paths would let its author read files
    on this machine.
    """

    folder: str
    remote: bool = False

    def locate(self, audio: str) -> str | None:
        """The absolute path or URL of `audio`; None if it is not allowed or not understood."""
        scheme = scheme_of(audio)
        if scheme is None and scheme_of(audio.lstrip()) in SCHEMES:
            scheme = scheme_of(audio.lstrip())
        if self.remote:
            return self._locate_remote(audio.strip(), scheme)
        if scheme is None:
            found = self._below(audio)
            return found if audio.isascii() and audio == audio.strip() else existing(found)
        if scheme == "file":
            return local_path(audio.strip())
        return audio.strip() if scheme in SCHEMES else None

    def _below(self, audio: str) -> str:
        if _PLAIN.fullmatch(audio):
            return f"{self.folder}/{audio}"
        return os.path.normpath(os.path.join(self.folder, audio))  # noqa: PTH118 - a million times

    def _locate_remote(self, audio: str, scheme: str | None) -> str | None:
        if scheme is not None:
            return audio if scheme in SCHEMES and scheme != "file" else None
        if audio.startswith("/") or ".." in audio.split("/"):
            return None
        if self.folder.startswith("s3://"):
            return self.folder.rstrip("/") + "/" + audio
        return urljoin(self.folder.rstrip("/") + "/", audio)


def local_path(url: str) -> str | None:
    """The path of a `file://` URL, or None if it names another host. `%NN` may encode any byte."""
    rest = url[len("file://") :]
    host, slash, path = rest.partition("/")
    if not slash or host not in ("", "localhost"):
        return None
    return os.fsdecode(unquote_to_bytes(b"/" + os.fsencode(path)))


def plain_path(location: str) -> str:
    """The path of a local location; a `file://` URL of another host stays what it is, and is not found."""
    return (local_path(location) if scheme_of(location) == "file" else None) or location


def existing(path: str) -> str:
    """The file that `path` means: itself, or the only file with an equivalent name.

    macOS and zip archives write é as two code points where a manifest has one (NFD, NFC), and a cell may
    end with a space.
    """
    if os.path.lexists(path):
        return path
    folder, name = os.path.split(path)
    if not name or folder == path:
        return path
    real = existing(folder)
    matches = _names(real).get(_same_text(name), ())
    return os.path.join(real, matches[0]) if len(matches) == 1 else path  # noqa: PTH118


def _names(folder: str) -> dict[str, list[str]]:
    """The folder's names by their normalised text; caches the last folder."""
    try:
        return _listed(folder, os.stat(folder).st_mtime_ns)  # noqa: PTH116
    except OSError:
        return {}


@lru_cache(maxsize=8)
def _listed(folder: str, _changed: int) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name in os.listdir(folder):  # noqa: PTH208
        names.setdefault(_same_text(name), []).append(name)
    return names


def _same_text(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


def printable(text: str) -> str:
    r"""`text` with bytes that are not UTF-8 written as `\xNN`, so that it can be stored and printed."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return _escaped(text)
    return text


def _escaped(text: str) -> str:
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone surrogate, which JSON can contain
        return text.encode("utf-8", "backslashreplace").decode("utf-8")

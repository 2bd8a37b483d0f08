"""File names from row ids: safe on any file system, unique regardless of case, readable.

An id is any text: it may hold slashes, be 300 characters long, or be a device name on some system. Unsafe
characters become `_`; if two ids would share a name, a short hash is added.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

MAX_BYTES = 120
"""Longest stem in UTF-8 bytes; file systems and archives accept 255 including the extension."""

_UNSAFE = re.compile(r'[<>:"/\\|?*]')
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_RESERVED = {"index"}


def safe_stem(row_id: str) -> str:
    """The id as a file name without extension; equal for ids that differ only in replaced characters."""
    text = unicodedata.normalize("NFC", row_id)
    text = _UNSAFE.sub("_", "".join("_" if _invisible(char) else char for char in text)).strip()
    text = re.sub(r"^[-.~ ]+", "_", text)
    text = re.sub(r"[. ]+$", "_", text)
    if _DEVICE.fullmatch(text) or text.casefold() in _RESERVED:
        text = f"_{text}"
    if len(text.encode()) > MAX_BYTES:
        text = f"{_cut(text, MAX_BYTES)}-{digest(row_id)}"
    return text or "_"


def _invisible(char: str) -> bool:
    """Control, format, private and unassigned characters, and separators other than the space."""
    category = unicodedata.category(char)
    return category[0] == "C" or (category[0] == "Z" and char != " ")


def _cut(text: str, limit: int) -> str:
    """The longest prefix of `text` with at most `limit` UTF-8 bytes and whole characters."""
    return text.encode()[:limit].decode(errors="ignore")


def digest(row_id: str) -> str:
    """A short hash of an id."""
    return hashlib.sha256(row_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _key(stem: str) -> int:
    """A key that is equal for names which a case-insensitive or normalising file system treats as one.

    64 bits of a hash, so a million names fit in tens of megabytes; a false match only adds a suffix.
    """
    folded = unicodedata.normalize("NFKC", stem).casefold()
    return int.from_bytes(hashlib.blake2b(folded.encode(), digest_size=8).digest(), "big")


class Names:
    """Gives every id of a data set its file name. All ids must be seen before the first is named.

    A name depends on the set of ids, not on their order. An id that is already a safe name keeps it, unless
    another such id differs only in case.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        seen: set[int] = set()
        safe: set[int] = set()
        self._shared: set[int] = set()
        self._shared_by_safe: set[int] = set()
        for row_id in ids:
            stem = safe_stem(row_id)
            key = _key(stem)
            (self._shared if key in seen else seen).add(key)
            if stem == row_id:
                (self._shared_by_safe if key in safe else safe).add(key)
        self._used: set[int] = set()

    def stem(self, row_id: str) -> str:
        """The unique file name of an id, without extension."""
        stem = safe_stem(row_id)
        key = _key(stem)
        if key in self._shared and (stem != row_id or key in self._shared_by_safe):
            stem = f"{stem}-{digest(row_id)}"
        name, count = stem, 1
        while _key(name) in self._used:
            count += 1
            name = f"{stem}-{count}"
        self._used.add(_key(name))
        return name

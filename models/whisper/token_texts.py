"""The bytes of each token of a byte-level BPE, read from `tokenizer.json` without its merges.

Decoding needs no more. The `tokenizers` library takes 20 MB, and 50 ms at the start of a worker, to load
what only encoding needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import accumulate, chain
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

_LAST = 0x143
"""The largest character that stands for a byte."""


class _Kind(msgspec.Struct):
    type: str = ""


class _Model(msgspec.Struct):
    vocab: dict[str, int]


class _Added(msgspec.Struct):
    id: int
    content: str
    special: bool = False


class _File(msgspec.Struct):
    model: _Model
    decoder: _Kind | None = None
    added_tokens: list[_Added] = []


class TokenTexts:
    """The bytes of each token; `special` are the ids of special tokens."""

    def __init__(self, vocab: dict[str, int], added: Iterable[_Added]) -> None:
        tokens = sorted(vocab, key=vocab.__getitem__)
        if [vocab[tokens[0]], vocab[tokens[-1]]] != [0, len(tokens) - 1]:
            raise ValueError("the ids of its tokens are not consecutive")
        self._bytes = _as_bytes("".join(tokens))
        self._ends = np.fromiter(chain((0,), accumulate(map(len, tokens))), np.int32, len(tokens) + 1)
        self._added = {one.id: one.content for one in added}
        self.special = frozenset(one.id for one in added if one.special)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD, unknown ids nothing."""
        return b"".join(map(self._of, ids)).decode("utf-8", "replace")

    def _of(self, token: int) -> bytes:
        if token in self._added:
            return _bytes_of(self._added[token])
        if not 0 <= token < len(self._ends) - 1:
            return b""
        return self._bytes[self._ends[token] : self._ends[token + 1]]


def read_texts(path: Path) -> TokenTexts | None:
    """The token texts of a tokenizer.json; None if it is unreadable, or of another kind."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
        if found.decoder is None or found.decoder.type != "ByteLevel":
            return None
        return TokenTexts(found.model.vocab, found.added_tokens)
    except (OSError, ValueError, IndexError, msgspec.MsgspecError):
        return None


@cache
def _byte_of() -> NDArray[np.int16]:
    """The byte that each character stands for, as in GPT-2's `bytes_to_unicode`; -1 for other characters."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    table = np.full(_LAST + 2, -1, np.int16)
    table[shown] = shown
    table[0x100 : 0x100 + len(hidden)] = hidden
    return table


def _as_bytes(text: str) -> bytes:
    """The bytes that the characters stand for. Raises ValueError for others."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    found = _byte_of()[np.minimum(codes, _LAST + 1)]
    if (found < 0).any():
        raise ValueError("a token has characters that stand for no byte")
    return found.astype(np.uint8).tobytes()


def _bytes_of(content: str) -> bytes:
    """Of an added token, which may also be plain text."""
    try:
        return _as_bytes(content)
    except ValueError:
        return content.encode()

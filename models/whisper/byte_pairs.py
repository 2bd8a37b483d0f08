"""Text to ids by a byte-level BPE, from `tokenizer.json` and without the `tokenizers` library.

A window that is decoded after the text before it is the only reason for most jobs to encode anything. The
library takes 20 MB and 90 ms to load, and the last window of a job waits for it.

The pieces are those of GPT-2 (Radford et al. 2019): a contraction, or letters, digits or other characters
with a space before them, or white space. In each, the pair of tokens that comes first in the list of merges
is joined, until no pair is in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import msgspec

from asr_batch.models.whisper.token_texts import shown_bytes

_NO_SPACE = "\x1c\x1d\x1e\x1f"
"""White space for Python, but not in Unicode."""

_PIECE = re.compile(r" ?L+| ?N+| ?O+|[ S]+(?![^ S])|[ S]+")
_CONTRACTION = re.compile(r"'(?:[stmd]|re|ve|ll)")


class _Model(msgspec.Struct):
    vocab: dict[str, int]
    merges: list[str | list[str]]
    type: str = "BPE"
    dropout: float | None = None
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None
    byte_fallback: bool = False
    ignore_merges: bool = False


class _Split(msgspec.Struct):
    type: str = ""
    add_prefix_space: bool = True
    use_regex: bool = True


class _Added(msgspec.Struct):
    content: str


class _File(msgspec.Struct):
    model: _Model
    pre_tokenizer: _Split | None = None
    normalizer: msgspec.Raw | None = None
    added_tokens: list[_Added] = []


class BytePairs:
    """`vocab`: the id of each token; `ranks`: the place in the list of merges of each pair, with a space
    between; `added`: texts that are tokens wherever they are.
    """

    def __init__(self, vocab: Mapping[str, int], ranks: Mapping[str, int], added: frozenset[str]) -> None:
        self._vocab, self._ranks, self._added = vocab, ranks, added

    def encode(self, text: str) -> list[int] | None:
        """Ids of `text`; None if only the library knows them."""
        kinds = "".join(map(_kind, text))
        if "?" in kinds or any(one in text for one in self._added):
            return None
        try:
            return [self._vocab[token] for piece in _pieces(text, kinds) for token in self._tokens(piece)]
        except KeyError:  # a byte that is no token
            return None

    def _tokens(self, piece: str) -> list[str]:
        tokens, last = list(shown_bytes(piece)), len(self._ranks)
        while len(tokens) > 1:
            ranks = [self._ranks.get(f"{one} {other}", last) for one, other in pairwise(tokens)]
            least = min(ranks)
            if least == last:
                break
            at = ranks.index(least)
            tokens[at : at + 2] = [tokens[at] + tokens[at + 1]]
        return tokens


def read_byte_pairs(path: Path) -> BytePairs | None:
    """The byte-level BPE of a tokenizer.json; None if it is unreadable, or of another kind."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    model, split = found.model, found.pre_tokenizer
    plain = model.type == "BPE" and not (model.dropout or model.byte_fallback or model.ignore_merges)
    plain = plain and not (model.continuing_subword_prefix or model.end_of_word_suffix)
    split_as_expected = split is not None and split.type == "ByteLevel" and split.use_regex
    if not plain or split is None or not split_as_expected or split.add_prefix_space:
        return None
    if found.normalizer is not None and bytes(found.normalizer) != b"null":
        return None
    merges = (one if isinstance(one, str) else " ".join(one) for one in model.merges)
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    return BytePairs(model.vocab, ranks, frozenset(one.content for one in found.added_tokens))


def _kind(letter: str) -> str:
    """What pieces are made of: letters, numbers, the space, other white space, others; `?`: unknown."""
    if letter == " ":
        return letter
    if letter.isspace() and letter not in _NO_SPACE:
        return "S"
    category = unicodedata.category(letter)
    if category in ("Cn", "Cs"):  # perhaps known to a later version of Unicode; half a character
        return "?"
    return category[0] if category[0] in "LN" else "O"


def _pieces(text: str, kinds: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _CONTRACTION.match(text, at) or _PIECE.match(kinds, at)
        assert found is not None
        yield text[at : found.end()]
        at = found.end()

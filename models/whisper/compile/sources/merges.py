"""Rebuilds a byte-level tokenizer from its vocabulary alone.

Whisper's vocabularies, like GPT-2's, number their tokens in the order of training merges, so a token's
number is the rank of its merge (OpenAI's own files, `multilingual.tiktoken`, contain nothing else).
Splitting a token by all earlier merges leaves the two parts that its own merge joins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from asr_batch.manifests.errors import ModelError

END = "<|endoftext|>"
_TIMESTAMP = re.compile(r"<\|\d+\.\d\d\|>")
_LONGEST = 512  # bytes; OpenAI's longest token has 128


def merges_of(ranks: Mapping[str, int]) -> list[tuple[str, str]]:
    """The merges of `ranks` (token to number), in order. Raises ModelError for any other vocabulary."""
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) == 1:
            continue
        parts = _split(token, rank, ranks) if len(token) <= _LONGEST else []
        if len(parts) != 2:
            raise ModelError(f"token {rank} ({token!r}) is not made of two tokens before it")
        merges.append((parts[0], parts[1]))
    return merges


def _split(token: str, below: int, ranks: Mapping[str, int]) -> list[str]:
    """`token` after all merges with a rank below `below`, lowest first."""
    parts = list(token)
    while len(parts) > 1:
        joined = [ranks.get(a + b, below) for a, b in pairwise(parts)]
        lowest = min(joined)
        if lowest >= below:
            break
        at = joined.index(lowest)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def tokenizer_of(vocabulary: Sequence[str]) -> dict[str, Any]:
    """The content of tokenizer.json for a Whisper vocabulary with one token per id, without time stamps.

    Raises ModelError if the vocabulary is not a byte-level BPE with Whisper's special tokens.
    """
    if END not in vocabulary:
        raise ModelError(f"the vocabulary lacks {END}")
    first = vocabulary.index(END)
    ranks = {token: i for i, token in enumerate(vocabulary[:first]) if token}
    merges = merges_of(ranks)
    special = [(i, token) for i, token in enumerate(vocabulary) if i >= first and token]
    added = [
        {"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for i, token in special if not _TIMESTAMP.fullmatch(token)
    ]  # fmt: skip
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": level,
        "decoder": level,
        "model": {"type": "BPE", "vocab": ranks, "merges": [" ".join(pair) for pair in merges]},
    }

"""Whisper's two vocabularies, for OpenAI's checkpoints, which bring none.

`vocabularies.json.xz` (made by `tools/vocabularies.py`) holds the tokens of both, the languages in their
order, and the ids of tokens that are no speech. What follows them is the same in every Whisper: the special
tokens and a time stamp every 20 ms up to 30 s.
"""

from __future__ import annotations

import json
import lzma
from importlib.resources import files
from typing import Any

from asr_batch.models.whisper.compile.sources.merges import END, tokenizer_of
from asr_batch.models.whisper.config import INITIAL_TIMESTAMP, VOCABULARIES

_FILE = "vocabularies.json.xz"
_LAST = ("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>")
_TIMESTAMPS = 1501
_LARGE_V3 = 51866  # words; it knows one language more
_BLANK = 220  # a space, in both vocabularies


def text_files(words: int) -> dict[str, bytes] | None:
    """tokenizer.json and generation_config.json of a Whisper with so many words; None for another number."""
    if words not in VOCABULARIES:
        return None
    multilingual = VOCABULARIES[words]
    content = json.loads(lzma.decompress(files(__package__).joinpath(_FILE).read_bytes()))
    known = content["multilingual" if multilingual else "english"]
    languages = [*known["languages"], *(["yue"] if words == _LARGE_V3 else [])]
    special = [
        END,
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in languages),
        *_LAST,
        "<|notimestamps|>",
    ]
    stamps = [f"<|{place * 0.02:.2f}|>" for place in range(_TIMESTAMPS)]
    vocabulary = [*known["tokens"], *special, *stamps]
    assert len(vocabulary) == words
    made = {
        "tokenizer.json": tokenizer_of(vocabulary),
        "generation_config.json": _generation(vocabulary, known["suppress"], multilingual),
    }
    return {name: json.dumps(value, ensure_ascii=False).encode() for name, value in made.items()}


def _generation(vocabulary: list[str], silent: list[int], multilingual: bool) -> dict[str, Any]:
    """What openai/whisper suppresses by default: tokens that are no speech, and special ones."""
    special = [vocabulary.index(token) for token in ("<|startoftranscript|>", *_LAST)]
    return INITIAL_TIMESTAMP | {
        "is_multilingual": multilingual,
        "suppress_tokens": [*silent, *special],
        "begin_suppress_tokens": [_BLANK, vocabulary.index(END)],
    }

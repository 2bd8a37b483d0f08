"""Whisper's two vocabularies, for OpenAI's checkpoints, which contain none.

`vocabularies.json.xz` (made by `tools/vocabularies.py`) has the tokens of both, the languages in order,
and the ids of non-speech tokens. Everything else is the same in all Whisper models: the special tokens,
and a time stamp every 20 ms up to 30 s.
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
_LARGE_V3 = 51866  # tokens; it has one more language
_BLANK = 220  # a space, in both vocabularies


def text_files(words: int) -> dict[str, bytes] | None:
    """tokenizer.json and generation_config.json for a vocabulary of this size; None for other sizes."""
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
    """Default suppression of openai/whisper: non-speech tokens, and special ones."""
    special = [vocabulary.index(token) for token in ("<|startoftranscript|>", *_LAST)]
    return INITIAL_TIMESTAMP | {
        "is_multilingual": multilingual,
        "suppress_tokens": [*silent, *special],
        "begin_suppress_tokens": [_BLANK, vocabulary.index(END)],
    }

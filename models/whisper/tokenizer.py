"""Whisper's tokenizer, and the prompt ids that a decoding starts with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from asr_batch.manifests.errors import ItemError, ModelError
from asr_batch.models.recognizer import DecodeOptions
from asr_batch.models.whisper.config import WhisperConfig, read_json
from asr_batch.models.whisper.token_texts import read_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def _load(folder: Path) -> Tokenizer:
    """Raises ModelError."""
    from tokenizers import (  # takes long, and only encoding needs it
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
    )

    try:
        if (folder / "tokenizer.json").is_file():
            return Tokenizer.from_file(str(folder / "tokenizer.json"))
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            bpe = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
            tokenizer = Tokenizer(bpe)
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            tokenizer.decoder = decoders.ByteLevel()
            return tokenizer
    except Exception as error:
        raise ModelError(f"{folder}: the tokenizer cannot be read ({error})") from error
    raise ModelError(f"{folder}: no tokenizer.json, and no vocab.json with merges.txt either")


class WhisperTokenizer:
    """The byte-level BPE of one model.

    Special tokens, timestamps and unknown ids never become text.
    """

    def __init__(self, folder: Path, config: WhisperConfig) -> None:
        self._folder = folder
        self._texts = read_texts(folder / "tokenizer.json")
        self._special = self._special_ids() | {config.eot, config.sot}
        self._timestamp_begin = config.timestamp_begin

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return _load(self._folder)

    def _special_ids(self) -> frozenset[int]:
        if self._texts is not None:
            found = self._texts.special
        else:
            added = self._tokenizer.get_added_tokens_decoder()
            found = frozenset(number for number, token in added.items() if token.special)
        path = self._folder / "added_tokens.json"
        if not found and path.is_file():
            return frozenset(int(number) for number in read_json(path).values())
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, without special tokens and timestamps."""
        ids = self.text_ids(ids)
        if self._texts is not None:
            return self._texts.decode(ids)
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def text_ids(self, ids: Sequence[int]) -> list[int]:
        """`ids` without special tokens and timestamps."""
        last = self._timestamp_begin
        return [i for i in ids if i not in self._special and (last is None or i < last)]

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)


def prompt_ids(config: WhisperConfig, tokenizer: WhisperTokenizer, options: DecodeOptions) -> list[int]:
    """The ids that a window's decoding starts with: context, start of transcript, language, task, timestamps.

    Raises ItemError for a language or task that the model does not know, or without a language.
    """
    ids = _context_ids(config, tokenizer, options)
    ids.append(config.sot)
    if config.multilingual:
        ids += [_language_id(config, options.language), _task_id(config, options.task)]
    else:
        _check_english_only(options)
    if not options.timestamps and config.no_timestamps is not None:
        ids.append(config.no_timestamps)
    return ids


def open_prompt_ids(config: WhisperConfig, tokenizer: WhisperTokenizer, options: DecodeOptions) -> list[int]:
    """As :func:`prompt_ids`; without a language any stands for the one that start-of-transcript will tell.

    Raises ItemError.
    """
    if options.language is None and config.multilingual:
        known = config.codes(options.among)
        if not known:
            raise ItemError(
                "bad_language", f"the model knows none of the languages {', '.join(options.among)}"
            )
        options = replace(options, language=known[0])
    return prompt_ids(config, tokenizer, options)


def sot_index(config: WhisperConfig, ids: Sequence[int]) -> int:
    """Index of `<|startoftranscript|>` in a prompt (its logits give the no-speech probability)."""
    return list(ids).index(config.sot)


def _context_ids(config: WhisperConfig, tokenizer: WhisperTokenizer, options: DecodeOptions) -> list[int]:
    """The context before the window: as many terms as fit, then the end of the prompt."""
    if config.previous is None:
        return []
    keep = config.max_target_positions // 2 - 1  # as in transformers and openai/whisper: its end is kept
    prompt = (options.prompt or "").strip()
    text = tokenizer.encode(f" {prompt}")[-keep:] if prompt else []
    terms = _fitting(tokenizer, options.glossary, keep - len(text))
    return [config.previous, *terms, *text] if terms or text else []


def _fitting(tokenizer: WhisperTokenizer, terms: Sequence[str], room: int) -> list[int]:
    """The ids of a list of the first terms, as many as fit."""
    ids: list[int] = []
    for number, term in enumerate(terms):
        more = tokenizer.encode(f" {term}," if number + 1 < len(terms) else f" {term}.")
        if len(ids) + len(more) > room:
            break
        ids += more
    return ids


def _language_id(config: WhisperConfig, language: str | None) -> int:
    if language is None:
        raise ItemError("bad_language", "the model is multilingual and no language was given or detected")
    found = config.languages.get(language)
    if found is None:
        known = ", ".join(sorted(config.languages))
        raise ItemError("bad_language", f"language {language!r} is unknown to the model; it knows {known}")
    return found


def _task_id(config: WhisperConfig, task: str | None) -> int:
    found = config.translate if task == "translate" else config.transcribe
    if found is None:
        raise ItemError("unsupported_option", f"the model has no token for the task {task or 'transcribe'!r}")
    return found


def _check_english_only(options: DecodeOptions) -> None:
    if options.language not in (None, "en"):
        raise ItemError("bad_language", f"language {options.language!r}, but the model knows English only")
    if options.task == "translate":
        raise ItemError("unsupported_option", "an English-only model cannot translate")

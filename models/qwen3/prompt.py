"""The family's prompt, tokenised with the model's own tokenizer.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from asr_batch.manifests.errors import ModelError
from asr_batch.models.qwen3.answer import TAG
from asr_batch.models.qwen3.config import QwenConfig
from asr_batch.models.qwen3.languages import NAMES

SPECIALS = {
    "im_start": "<|im_start|>",
    "im_end": "<|im_end|>",
    "audio_start": "<|audio_start|>",
    "audio_end": "<|audio_end|>",
    "audio_pad": "<|audio_pad|>",
    "asr_text": TAG,
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt's `ids`; audio features replace `audio_count` of them from `audio_offset` on."""

    ids: tuple[int, ...]
    audio_offset: int
    audio_count: int


class PromptWriter:
    """Encodes prompts and decodes answers with one tokenizer."""

    def __init__(self, folder: Path, config: QwenConfig) -> None:
        self._config = config
        self._tokenizer = _open(folder / "tokenizer.json")
        # text that looks like a special token (in a prompt from the manifest) stays text
        self._tokenizer.encode_special_tokens = True
        self.asr_text = _checked_ids(folder, config, self._tokenizer)
        self._line = self._encode("\n")
        self._user = self._encode("user\n")
        self._assistant = self._encode("assistant\n")

    def write(self, audio_count: int, context: str = "", language: str | None = None) -> Prompt:
        """The prompt for `audio_count` audio features, with `context` and a `language` code as a hint."""
        c = self._config
        head = [c.im_start, *self._encode(f"system\n{context}"), c.im_end, *self._line]
        head += [c.im_start, *self._user, c.audio_start]
        tail = [c.audio_end, c.im_end, *self._line, c.im_start, *self._assistant]
        if language is not None:
            tail += [*self.language_ids(language), self.asr_text]
        ids = (*head, *[c.audio_pad] * audio_count, *tail)
        return Prompt(ids, len(head), audio_count)

    def language_ids(self, language: str) -> list[int]:
        """Ids of `language Name` for a language code."""
        return self._encode(f"language {NAMES[language]}")

    def start_ids(self) -> list[int]:
        """Ids of the word `language`, with which every answer without a hint begins."""
        return self._encode("language")

    def decode(self, ids: list[int]) -> str:
        """The text of generated ids, without special tokens but with the tag before the text."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _open(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises a bare Exception for any damage
        raise ModelError(f"{path}: not a readable tokenizer ({error})") from error


def _checked_ids(folder: Path, config: QwenConfig, tokenizer: Tokenizer) -> int:
    """The id of the text tag. Raises ModelError unless both files agree on every special token."""
    found: int | None = None
    for name, token in SPECIALS.items():  # the text tag comes last
        said, found = getattr(config, name), tokenizer.token_to_id(token)
        if found is None or said not in (None, found):
            raise ModelError(
                f"{folder}: config.json gives {name} the id {said}, but tokenizer.json has {token} as "
                f"{found}; the two files belong to different models"
            )
    size = max(tokenizer.get_vocab().values()) + 1
    if size > config.vocab:
        raise ModelError(
            f"{folder}: tokenizer.json has ids up to {size - 1}, but the vocabulary in config.json has "
            f"{config.vocab}"
        )
    return int(found or 0)

"""The 30 languages of the family: ISO code to the English name used in prompt and answer.

Names are those of the package `qwen-asr`, codes those of `transformers`.
"""

from __future__ import annotations

NAMES: dict[str, str] = {
    "ar": "Arabic",
    "yue": "Cantonese",
    "zh": "Chinese",
    "cs": "Czech",
    "da": "Danish",
    "nl": "Dutch",
    "en": "English",
    "fil": "Filipino",
    "fi": "Finnish",
    "fr": "French",
    "de": "German",
    "el": "Greek",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "mk": "Macedonian",
    "ms": "Malay",
    "fa": "Persian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "es": "Spanish",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "vi": "Vietnamese",
}

CODES: dict[str, str] = {name.lower(): code for code, name in NAMES.items()}

ALIASES: dict[str, str] = {"tl": "fil", "cmn": "zh", "in": "id"}
"""Other codes in use for the same language (Whisper uses `tl` for Filipino)."""


def language_code(text: str) -> str | None:
    """The code for a code or English name in any case, with or without region (`de-AT`); None if unknown."""
    plain = text.strip().lower()
    plain = CODES.get(plain, plain)
    short = plain.replace("_", "-").split("-")[0]
    short = ALIASES.get(short, short)
    return short if short in NAMES else None

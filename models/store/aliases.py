"""Short names of models, and their names in the catalogue."""

from __future__ import annotations

SIZES = frozenset(
    {f"{size}{ending}" for size in ("tiny", "base", "small", "medium") for ending in ("", ".en")}
    | {"large-v2", "large-v3", "large-v3-turbo"}
)
_SHORT = {"large": "large-v3", "turbo": "large-v3-turbo"}
_PREFIXES = ("openai/whisper-", "systran/faster-whisper-", "faster-whisper-", "whisper-", "openai/")


def canonical(name: str) -> str:
    """`whisper-base` for `base`, `openai/whisper-base` and `faster-whisper-base`; other names unchanged.

    A revision (`base@REVISION`) is kept.
    """
    base, at, revision = name.partition("@")
    short = base.lower()
    for prefix in _PREFIXES:
        short = short.removeprefix(prefix)
    short = _SHORT.get(short, short)
    return f"whisper-{short}{at}{revision}" if short in SIZES else name

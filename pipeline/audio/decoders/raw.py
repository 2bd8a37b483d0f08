"""Sound files without a header, whose format follows from their extension."""

from __future__ import annotations

from dataclasses import dataclass, field

_MAGIC = (b"RIFF", b"RF64", b"FORM", b"OggS", b"fLaC", b"caff", b".snd", b"ID3", b"#!AMR", b"\x1aE\xdf\xa3")


@dataclass(frozen=True, slots=True)
class RawFormat:
    """FFmpeg's name of the format, with its options."""

    name: str
    options: dict[str, str] = field(default_factory=dict)


def _linear(name: str, rate: int) -> RawFormat:
    return RawFormat(name, {"sample_rate": str(rate), "ch_layout": "mono"})


FORMATS: dict[str, RawFormat] = {
    ".g722": RawFormat("g722"),
    ".gsm": RawFormat("gsm"),
    ".g726": RawFormat("g726", {"code_size": "4", "sample_rate": "8000"}),
    ".g729": RawFormat("g729"),
    ".g723": RawFormat("g723_1"),
    ".sbc": RawFormat("sbc"),
    **dict.fromkeys((".al", ".alaw", ".pcma"), _linear("alaw", 8000)),
    **dict.fromkeys((".ul", ".ulaw", ".mulaw", ".mu", ".pcmu"), _linear("mulaw", 8000)),
    **{f".sln{kilo or ''}": _linear("s16le", 1000 * (kilo or 8)) for kilo in (0, 8, 12, 16, 24, 32, 44, 48)},
    ".sln44": _linear("s16le", 44100),
}
"""Extensions of headerless files: telephony codecs, and Asterisk's signed linear (`.sln16`: at 16 kHz)."""


def raw_format(ending: str, head: bytes) -> RawFormat | None:
    """The format of an extension, unless the file's first bytes belong to a format with a header."""
    known = head.startswith(_MAGIC) or head[4:8] == b"ftyp"
    return None if known else FORMATS.get(ending)

"""The columns of a manifest: names, aliases, and the values each may hold."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asr_batch.manifests.errors import Problem
from asr_batch.manifests.languages import EXPECTED as EXPECTED_LANGUAGE
from asr_batch.manifests.languages import language_code
from asr_batch.manifests.location import EXPECTED, Base, printable
from asr_batch.manifests.records import AudioItem

ALIASES: dict[str, tuple[str, ...]] = {
    "audio": ("audio", "path", "audio_filepath", "audio_path", "wav"),
    "id": ("id", "utt_id", "key"),
    "start": ("start",),
    "end": ("end",),
    "offset": ("offset",),
    "duration": ("duration",),
    "channel": ("channel",),
    "track": ("track",),
    "language": ("language", "lang"),
    "task": ("task",),
    "prompt": ("prompt",),
    "reference": ("text", "transcript", "reference"),
}
"""The names each column may have; the first one present is used."""

TASKS = ("transcribe", "translate")


@dataclass(frozen=True, slots=True)
class Layout:
    """The role of each column of a manifest; columns without one are passed through."""

    roles: Mapping[str, str]
    extra: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str]) -> Layout:
        """Assign roles to column names. `duration` has a role only together with `offset` (NeMo)."""
        present = tuple(names)
        known = set(present)
        roles = {role: next((n for n in names_ if n in known), "") for role, names_ in ALIASES.items()}
        roles = {role: name for role, name in roles.items() if name}
        if "start" in roles or "end" in roles:
            roles.pop("offset", None)
        if "offset" not in roles:
            roles.pop("duration", None)
        used = set(roles.values())
        return cls(roles, tuple(name for name in present if name not in used))


def misspelt(names: Iterable[str]) -> dict[str, str]:
    """Passed-through columns that look like a misspelt known one, with the name that was probably meant.

    A column whose role is already taken by another is not reported.
    """
    layout = Layout.of(tuple(names))
    free = {name: role for role, names_ in ALIASES.items() if role not in layout.roles for name in names_}
    found = {}
    for name in layout.extra:
        plain = name.strip().lower()
        near = difflib.get_close_matches(plain, free, n=1, cutoff=0.8) if len(plain) > 3 else []
        meant = plain if plain in free else next(iter(near), None)
        if meant is not None and name not in free:
            found[name] = meant
    return found


def audio_expected(names: Sequence[str]) -> str:
    """What was expected of a manifest with these columns, none of which holds audio."""
    if len(names) == 1 and ";" in names[0]:
        return "commas between the columns, not semicolons"
    if len(names) == 1 and "\t" in names[0]:
        return "commas between the columns, or the ending .tsv of a file with tabs"
    wanted = f"a column named {' or '.join(ALIASES['audio'])}"
    for name in names:
        plain = name.strip().lower()
        if plain in ALIASES["audio"]:
            return f"{wanted}, in lower case"
        if near := difflib.get_close_matches(plain, ALIASES["audio"], n=1, cutoff=0.75):
            return f"{wanted}; is {printable(name)} meant to be {near[0]}?"
    return wanted


class RowError(Exception):
    """A cell that cannot be used."""

    def __init__(self, column: str, value: object, expected: str) -> None:
        super().__init__(expected)
        self.column, self.value, self.expected = column, value, expected

    def problem(self, line: int) -> Problem:
        """The error as a `Problem` of that line."""
        return Problem(line, self.column, printable(str(self.value))[:200], self.expected)


def build_item(line: int, values: Mapping[str, Any], layout: Layout, base: Base) -> AudioItem:
    """One manifest row as a record; `id` is empty if the manifest gives none.

    Raises RowError for the first cell that cannot be used.
    """
    column = layout.roles.get
    audio = _audio(values, column("audio"))
    location = base.locate(audio)
    if location is None:
        raise RowError(layout.roles["audio"], audio, _followed(base))
    start, end = _span(values, layout.roles)
    return AudioItem(
        _text(values, column("id")) or "",
        printable(audio),
        location,
        start,
        end,
        _channel(values, column("channel")),
        _language(values, column("language")),
        _task(values, column("task")),
        _text(values, column("prompt")),
        _text(values, column("reference")),
        line,
        tuple([(name, values.get(name)) for name in layout.extra]),
        _track(values, column("track")),
    )


def default_id(audio: str) -> str:
    """The audio path without its extension."""
    return printable(os.path.splitext(audio)[0])  # noqa: PTH122 - also of URLs


def _followed(base: Base) -> str:
    return "a URL or a path below the manifest, since the manifest is remote" if base.remote else EXPECTED


def _audio(values: Mapping[str, Any], column: str | None) -> str:
    if column is None:
        raise RowError("audio", "", audio_expected(tuple(values)))
    value = values.get(column)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise RowError(column, "" if value is None else value, EXPECTED)
    if not value.isascii():
        try:
            os.fsencode(value)
        except UnicodeEncodeError:
            raise RowError(column, value, EXPECTED) from None
    return value


def _text(values: Mapping[str, Any], column: str | None) -> str | None:
    if column is None:
        return None
    value = values.get(column)
    if value is None or value == "":
        return None
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        text = str(value)
        if not is_utf8(text):
            raise RowError(column, text, "text in UTF-8")
        return text
    raise RowError(column, value, "text")


def is_utf8(text: str) -> bool:
    """Whether `text` can be encoded as UTF-8 (no escaped bytes)."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _seconds(values: Mapping[str, Any], roles: Mapping[str, str], role: str) -> float | None:
    value = values.get(roles.get(role, ""))
    if value is None or value == "":
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, float) and math.isnan(value):
        return None  # what pandas writes for an empty cell
    if not math.isfinite(seconds) or seconds < 0:
        raise RowError(roles[role], value, "seconds as a number from 0, such as 12.5")
    return seconds


def _span(values: Mapping[str, Any], roles: Mapping[str, str]) -> tuple[float | None, float | None]:
    if "offset" in roles:
        start, length = _seconds(values, roles, "offset"), _seconds(values, roles, "duration")
        if length is None:
            return start, None
        if length <= 0:
            raise RowError(roles["duration"], values[roles["duration"]], "a duration above 0 seconds")
        return start, round((start or 0.0) + length, 6)
    if "start" not in roles and "end" not in roles:
        return None, None
    start, end = _seconds(values, roles, "start"), _seconds(values, roles, "end")
    if end is not None and end <= (start or 0.0):
        raise RowError(roles["end"], values[roles["end"]], f"an end after the start ({start or 0.0:g} s)")
    return start, end


def _channel(values: Mapping[str, Any], column: str | None) -> str:
    value = None if column is None else values.get(column)
    if column is None or value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "mix"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    if text in ("mix", "split") or (text.isascii() and text.isdigit() and len(text) < 5):
        return text if not text.isdigit() else str(int(text))
    raise RowError(column, value, "a channel number from 0, mix or split")


def _track(values: Mapping[str, Any], column: str | None) -> int | None:
    value = None if column is None else values.get(column)
    if column is None or value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
    if text.isascii() and text.isdigit() and len(text) < 5:
        return int(text)
    raise RowError(column, value, "the number of a track of audio, from 0")


def _language(values: Mapping[str, Any], column: str | None) -> str | None:
    text = _text(values, column)
    if column is None or text is None or not text.strip():
        return None
    code = language_code(text)
    if code is None:
        raise RowError(column, text, EXPECTED_LANGUAGE)
    return code


def _task(values: Mapping[str, Any], column: str | None) -> str | None:
    text = _text(values, column)
    text = text.strip() if text else text
    if column is None or text is None or text in TASKS:
        return text
    raise RowError(column, text, " or ".join(TASKS))

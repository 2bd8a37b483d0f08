"""Checks a value against its key, and parses times, shares and lists.

msgspec checks types and limits. Texts with a meaning of their own have a parser here, whose ValueError
says what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any, get_args

import msgspec
from msgspec import inspect

from asr_batch.jobs.config.keys import KEYS
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.languages import EXPECTED, language_code

FORMATS = ("srt", "vtt", "txt", "json", "tsv", "jsonl", "csv")


def check_value(name: str, value: Any, where: str) -> Any:
    """Return `value` as the type of key `name`; raises ConfigError that names its location `where`."""
    if name in ("max_failures", "stop_at") and value is not None:
        value = str(value)  # TOML has its own numbers and times
    try:
        found = msgspec.convert(value, KEYS[name].type)
        if name in _READERS and found is not None:
            _READERS[name](found)
    except msgspec.ValidationError:
        raise _unusable(name, value, where, expected(name)) from None
    except ValueError as error:
        raise _unusable(name, value, where, str(error)) from None
    return found


def _unusable(name: str, value: Any, where: str, wanted: str) -> ConfigError:
    return ConfigError(f"{where}: {name} = {value!r} is not usable; expected {wanted}")


def kind(name: str) -> inspect.Type:
    """The type of a key as msgspec describes it, without `None` for optional keys."""
    return _plain(inspect.type_info(KEYS[name].type))


def _plain(node: inspect.Type) -> inspect.Type:
    if isinstance(node, inspect.UnionType):
        return next(one for one in node.types if not isinstance(one, inspect.NoneType))
    return node


def choices(name: str) -> tuple[str, ...]:
    """The values of a key with a fixed set, in the order of the table (msgspec sorts them)."""
    return get_args(KEYS[name].type)


def expected(name: str) -> str:
    """The expected value of a key, in words."""
    match kind(name):
        case inspect.LiteralType():
            return ", ".join(choices(name))
        case inspect.IntType(ge=least, le=most):
            return "a whole number" + _range(least, most)
        case inspect.FloatType(ge=least, le=most):
            return "a number" + _range(least, most)
        case inspect.BoolType():
            return "true or false"
        case inspect.VarTupleType():
            return "a list of paths"
    return "text"


def _range(least: float | None, most: float | None) -> str:
    if least is None:
        return ""
    return f" from {least:g}" if most is None else f" from {least:g} to {most:g}"


def formats_of(text: str | None) -> tuple[str, ...]:
    """The formats of `--format`, without duplicates. Raises ValueError."""
    if text is None:
        return ()
    found = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    if not set(found) <= set(FORMATS):
        raise ValueError(f"one or more of {','.join(FORMATS)}, separated by commas")
    return found


def failures_allowed(text: str, rows: int) -> float:
    """The number of failed rows that `--max-failures` allows among `rows`. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    if match is None or (match[2] and float(match[1]) > 100) or (not match[2] and "." in match[1]):
        raise ValueError("a number of rows or a share such as 1%")
    return float(match[1]) * (rows / 100 if match[2] else 1)


def time_of_day(text: str) -> time:
    """The time of day in `--stop-at`. Raises ValueError."""
    if not re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", text):
        raise ValueError("a time of day such as 06:30")
    try:
        return time.fromisoformat(text.rjust(5, "0") if text.count(":") == 1 else text.rjust(8, "0"))
    except ValueError:
        raise ValueError("a time of day such as 06:30") from None


def next_occurrence(of: time, now: datetime) -> datetime:
    """The next moment after `now` at which the clock shows `of`."""
    today = datetime.combine(now.date(), of, now.tzinfo)
    return today if today > now else today + timedelta(days=1)


def _webhook(text: str) -> None:
    if not re.fullmatch(r"https?://[^\s/]+\S*", text):
        raise ValueError("an address such as https://example.org/hook")


def _something(text: str) -> None:
    if not text.strip():
        raise ValueError("a text that is not empty")


def _language(text: str) -> None:
    if not language_code(text):
        raise ValueError(EXPECTED)


def _languages(text: str) -> None:
    if not all(language_code(one) for one in text.split(",")):
        raise ValueError("languages such as en,de")


_READERS: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("out", "model", "second_model", "glossary", "provider", "address"), _something),
    "format": formats_of,
    "max_failures": lambda text: failures_allowed(text, 100),
    "stop_at": time_of_day,
    "webhook": _webhook,
    "language": _language,
    "languages": _languages,
}

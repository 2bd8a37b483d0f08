"""Reads `job.toml`: the keys of `RunConfig` in a file. Errors name file, line, value and expectation."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any

from asr_batch.jobs.config.keys import KEYS
from asr_batch.jobs.config.values import check_value
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.location import scheme_of

PATHS = ("manifest", "source", "glossary", "out", "model", "second_model")


def read_config(path: Path) -> dict[str, Any]:
    """Return the checked keys of a job.toml; its relative paths are relative to its folder.

    Raises ConfigError that lists every unusable key.
    """
    text, values = _parse(path)
    found: dict[str, Any] = {}
    errors: list[str] = []
    for key, value in values.items():
        name = key.replace("-", "_")
        where = f"{path}:{_line_of(text, key)}"
        if name not in KEYS:
            errors.append(f"{where}: unknown key {key} = {value!r}; expected {_near(name)}")
            continue
        try:
            found[name] = _rooted(name, check_value(name, value, where), path.absolute().parent)
        except ConfigError as error:
            errors.append(str(error))
    if errors:
        raise ConfigError("\n".join(errors))
    return found


def _parse(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return text, tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); expected a job.toml") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8; expected a TOML file in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f'{path}: not TOML ({error}); expected lines such as language = "en"') from error


def _line_of(text: str, key: str) -> int:
    pattern = re.compile(rf"\s*(\[\s*)?[\"']?{re.escape(key)}[\"']?\s*[=\].]")
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, KEYS, n=1)
    return f"{near[0]}" if near else f"one of {', '.join(KEYS)}"


def _rooted(name: str, value: Any, folder: Path) -> Any:
    if name == "sources":
        return tuple(_rooted("source", source, folder) for source in value)
    if name not in PATHS or not isinstance(value, str) or scheme_of(value) or value == "-":
        return value
    rooted = folder / value
    if name in ("model", "second_model") and not rooted.exists():
        return value  # a name in the store
    return str(rooted)

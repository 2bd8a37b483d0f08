"""The options of `run` as click sees them, made from the keys of `RunConfig`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field
from typing import Any, TypeVar

import click

from asr_batch.jobs.config import KEYS, check_value
from asr_batch.manifests.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])

_SHORT = {"verbose": "-v"}
_METAVARS = {
    "out": "DIR",
    "model": "NAME|PATH",
    "second_model": "NAME|PATH",
    "address": "ADDRESS",
    "language": "CODE",
    "languages": "CODE,CODE",
    "provider": "auto|cpu|cuda|NAME",
    "max_failures": "N|P%",
    "stop_at": "HH:MM",
    "format": "FORMAT,FORMAT",
    "on_finish": "COMMAND",
    "webhook": "URL",
}


def run_options(*names: str) -> Callable[[Command], Command]:
    """Add the options for these keys of `RunConfig` (all but the arguments when none is named).

    An option that is not given is None, so that `job.toml` can give it.
    """
    wanted = names or tuple(name for name in KEYS if name not in ("manifest", "sources"))

    def decorate(command: Command) -> Command:
        for name in reversed(wanted):
            command = _option(KEYS[name])(command)
        return command

    return decorate


def _option(entry: Field[Any]) -> Callable[[Command], Command]:
    flags = [f"--{entry.name.replace('_', '-')}", *filter(None, [_SHORT.get(entry.name)])]
    kind, text = str(entry.type), entry.metadata["help"]
    if entry.default is not None and entry.default is not False:
        text = f"{text}  [default: {entry.default}]"
    if kind == "bool":
        return click.option(*flags, entry.name, is_flag=True, default=None, help=text)
    types: dict[str, Any] = {"i": click.INT, "f": click.FLOAT, "s": click.STRING}
    choices = entry.metadata.get("choices")
    return click.option(
        *flags,
        entry.name,
        type=click.Choice(choices) if choices else types[kind[0]],
        metavar=_METAVARS.get(entry.name),
        default=None,
        help=text,
    )


def checked(given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, checked; raises ConfigError."""
    found = {name: value for name, value in given.items() if value is not None}
    for name, value in found.items():
        try:
            found[name] = check_value(name, value, "command line")
        except ConfigError as error:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(str(error).replace(f"command line: {name} =", f"{option}")) from None
    return found

"""The click options of `run`, generated from the table of settings, and their headings in `--help`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from msgspec import inspect

from asr_batch.jobs.config.keys import ARGUMENT, KEYS, Key
from asr_batch.jobs.config.values import check_value, choices, kind
from asr_batch.manifests.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])

_SHORT = {"verbose": "-v"}


class GroupedCommand(click.Command):
    """A command whose `--help` lists options under the headings of the table of settings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, the command's own first."""
        by_heading: dict[str, list[tuple[str, str]]] = {"Options": []}
        for heading in dict.fromkeys(key.heading for key in KEYS.values() if key.heading):
            by_heading[heading] = []
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx) if isinstance(option, click.Option) else None
            if record is not None:
                key = KEYS.get(option.name or "")
                by_heading[key.heading if key else "Options"].append(record)
        for heading, records in by_heading.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


def run_options(*names: str) -> Callable[[Command], Command]:
    """Add the options for these keys of `RunConfig` (default: all except the arguments).

    An option that is not given is None, so that `job.toml` can set it.
    """
    wanted = [key for key in KEYS.values() if key.name in names or (not names and key.heading != ARGUMENT)]

    def decorate(command: Command) -> Command:
        for key in reversed(wanted):
            command = _option(key)(command)
        return command

    return decorate


def _option(key: Key) -> Callable[[Command], Command]:
    flags = [f"--{key.name.replace('_', '-')}", *filter(None, [_SHORT.get(key.name)])]
    text = key.text if key.default in (None, False) else f"{key.text}  [default: {key.default}]"
    match kind(key.name):
        case inspect.BoolType():
            return click.option(*flags, key.name, is_flag=True, default=None, help=text)
        case inspect.LiteralType():
            shape: Any = click.Choice(choices(key.name))
        case inspect.IntType():
            shape = click.INT
        case inspect.FloatType():
            shape = click.FLOAT
        case _:
            shape = click.STRING
    return click.option(*flags, key.name, type=shape, metavar=key.metavar, default=None, help=text)


def checked(given: dict[str, Any]) -> dict[str, Any]:
    """The checked values of the options that were given. Raises ConfigError."""
    found = {name: value for name, value in given.items() if value is not None}
    for name, value in found.items():
        try:
            found[name] = check_value(name, value, "command line")
        except ConfigError as error:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(str(error).replace(f"command line: {name} =", f"{option}")) from None
    return found

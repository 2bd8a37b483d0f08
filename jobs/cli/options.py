"""The click options of `run`, generated from the keys of `RunConfig`, and their groups on the help screen."""

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
    "prompt": "TEXT",
    "glossary": "FILE",
    "webhook": "URL",
}

GROUPS: dict[str, tuple[str, ...]] = {
    "Output": ("out", "format", "beside_audio", "word_timestamps", "fresh", "redo", "part_rows"),
    "Model": ("model", "second_model", "precision", "encoder", "decoder", "provider", "npu_service"),
    "Recognition": (
        *("language", "languages", "task", "prompt", "glossary", "window", "planner", "beam_size"),
        *("max_new_tokens", "timestamps", "repair_budget", "drop_hallucinations", "plain"),
    ),
    "Gates": ("min_coverage", "max_failures"),
    "Workers and cluster": (
        *("workers", "threads", "batch_size", "no_ray", "address", "insecure_cluster", "strict"),
        *("hang_timeout",),
    ),
    "Stopping and notification": ("stop_at", "max_hours", "grace", "on_finish", "webhook", "metrics_port"),
    "Display": ("progress", "quiet", "verbose"),
}
"""Options by the heading under which `--help` lists them; all others are under Options."""


class GroupedCommand(click.Command):
    """A command whose help screen lists options under the headings of :data:`GROUPS`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those of the command itself first."""
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        records = {option.name: option.get_help_record(ctx) for option in options}
        shown = {name: record for name, record in records.items() if name and record is not None}
        grouped = {title: [name for name in names if name in shown] for title, names in GROUPS.items()}
        own = [name for name in shown if not any(name in names for names in grouped.values())]
        for title, names in {"Options": own, **grouped}.items():
            if names:
                with formatter.section(title):
                    formatter.write_dl([shown[name] for name in names])


def run_options(*names: str) -> Callable[[Command], Command]:
    """Add the options for these keys of `RunConfig` (default: all but the arguments).

    An option that is not given is None, so that `job.toml` can set it.
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
    """The options that were given, checked. Raises ConfigError."""
    found = {name: value for name, value in given.items() if value is not None}
    for name, value in found.items():
        try:
            found[name] = check_value(name, value, "command line")
        except ConfigError as error:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(str(error).replace(f"command line: {name} =", f"{option}")) from None
    return found

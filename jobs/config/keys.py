"""The table of settings: every key of `job.toml` is an option of `run` with the same name.

:class:`RunConfig` is the only place for a key's type, limits, default, help text and heading. `job.toml`
(:mod:`asr_batch.jobs.config.job_toml`) and the command line (:mod:`asr_batch.jobs.cli.options`) use
:data:`KEYS`, which is derived from it; msgspec checks values against the types.
"""

# ruff: noqa: RUF009 - `_key` returns a dataclass field
from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_type_hints

from msgspec import Meta

from asr_batch.jobs.config.glossary import read_glossary
from asr_batch.manifests.languages import AUTO, language_code

if TYPE_CHECKING:  # keeps NumPy out of `--help`, which takes 0.1 s
    from asr_batch.models.recognizer import LoadOptions
    from asr_batch.pipeline.options import PipelineOptions

Count = Annotated[int, Meta(ge=1)]
Few = Annotated[int, Meta(ge=1, le=1024)]
"""Of processes, threads or windows at once: more is a slip of the pen, which would take hours to fail."""
Port = Annotated[int, Meta(ge=1, le=65535)]
BeamSize = Annotated[int, Meta(ge=1, le=16)]
Amount = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Budget = Annotated[float, Meta(ge=0, le=10)]
Patience = Annotated[float, Meta(ge=1)]
WindowLength = Annotated[float, Meta(ge=1, le=1200)]

ARGUMENT, OUTPUT, MODEL, RECOGNITION = "", "Output", "Model", "Recognition"
GATES, CLUSTER = "Gates", "Workers and cluster"
STOPPING, DISPLAY = "Stopping and notification", "Display"
"""Headings of `run --help`, in order; arguments have none."""


def _key(heading: str, text: str, default: Any = None, *, metavar: str | None = None) -> Any:
    return field(default=default, metadata={"heading": heading, "text": text, "metavar": metavar})


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The settings of one job."""

    manifest: str | None = _key(ARGUMENT, "Manifest: a file, a URL, or - for CSV on standard input.")
    sources: tuple[str, ...] = _key(ARGUMENT, "Audio files, folders and globs instead of a manifest.", ())

    out: str | None = _key(OUTPUT, "Output folder of the data set.", metavar="DIR")
    format: str | None = _key(
        OUTPUT,
        "Also write a file per row, as soon as it is done: srt, vtt, txt, json, tsv, jsonl or csv.",
        metavar="FORMAT,FORMAT",
    )
    beside_audio: bool = _key(OUTPUT, "Put the files of --format next to their audio.", False)
    word_timestamps: bool = _key(OUTPUT, "Write word times to the column `words`.", False)
    fresh: bool = _key(OUTPUT, "Require an empty output folder; deletes nothing.", False)
    redo: bool = _key(
        OUTPUT, "Continue in a folder of another job, or with another model or settings.", False
    )
    part_rows: Count = _key(OUTPUT, "Maximum rows per part file.", 20_000)

    model: str | None = _key(
        MODEL, "Model: a name or a folder; default: the best installed one.", metavar="NAME|PATH"
    )
    second_model: str | None = _key(
        MODEL, "Larger model for windows that the model fails on.", metavar="NAME|PATH"
    )
    precision: Literal["auto", "fp32", "int8", "int4"] = _key(MODEL, "Precision of the weights.", "auto")
    encoder: Literal["auto", "cpu", "hailo"] = _key(MODEL, "Where the encoder runs.", "auto")
    decoder: Literal["auto", "cpu", "npu"] = _key(MODEL, "Where the decoder runs.", "auto")
    provider: str = _key(
        MODEL,
        "ONNX Runtime execution provider; auto: the fastest available.",
        "auto",
        metavar="auto|cpu|cuda|NAME",
    )
    npu_service: bool = _key(MODEL, "Share the NPU with other programs through HailoRT's service.", False)

    language: str | None = _key(
        RECOGNITION, "Language of rows without their own, such as en; default: detect.", metavar="CODE"
    )
    languages: str | None = _key(
        RECOGNITION, "Languages that detection may choose from, separated by commas.", metavar="CODE,CODE"
    )
    task: Literal["transcribe", "translate"] = _key(
        RECOGNITION, "Task of rows without their own.", "transcribe"
    )
    prompt: str | None = _key(
        RECOGNITION, "Prompt of every window, for rows without their own.", metavar="TEXT"
    )
    glossary: str | None = _key(
        RECOGNITION, "File of names and terms to recognise, one per line.", metavar="FILE"
    )
    window: WindowLength | None = _key(RECOGNITION, "Longest window in seconds; default: the model's.")
    planner: Literal["silence", "stride"] = _key(
        RECOGNITION, "Cut windows in silence, or at a fixed stride.", "silence"
    )
    beam_size: BeamSize = _key(RECOGNITION, "Beam size; 1 decodes greedily.", 1)
    max_new_tokens: Count | None = _key(RECOGNITION, "Maximum tokens per window; default: the model's limit.")
    timestamps: bool = _key(RECOGNITION, "Let the model predict timestamp tokens within windows.", False)
    repair_budget: Budget = _key(
        RECOGNITION, "Share of the audio that may be decoded again to repair windows.", 0.1
    )
    drop_hallucinations: bool = _key(RECOGNITION, "Remove text that was probably not spoken.", False)
    plain: bool = _key(
        RECOGNITION, "Fixed windows, one greedy pass, no guards, like reference implementations.", False
    )

    min_coverage: Share | None = _key(GATES, "Gate: minimum share of speech with text, from 0 to 1.")
    max_failures: str | None = _key(
        GATES, "Gate: maximum failed rows, a number or a share such as 1%.", metavar="N|P%"
    )

    workers: Few | None = _key(CLUSTER, "Number of workers; default: by cores and memory.")
    threads: Few | None = _key(CLUSTER, "Threads per worker; default: by cores.")
    batch_size: Few | None = _key(CLUSTER, "Windows to decode together; default: chosen by the engine.")
    no_ray: bool = _key(CLUSTER, "Run in this process, without Ray.", False)
    address: str = _key(
        CLUSTER,
        "Ray cluster: local (this machine only), auto (the cluster that this machine is in) or HOST:PORT.",
        "local",
        metavar="ADDRESS",
    )
    insecure_cluster: bool = _key(CLUSTER, "Accept a Ray cluster without authentication.", False)
    strict: bool = _key(
        CLUSTER, "Stop if a node of the cluster cannot be used, instead of leaving it out.", False
    )
    hang_timeout: Patience = _key(
        CLUSTER, "Time limit of a file: this many seconds plus 30 times its length.", 600.0
    )

    stop_at: str | None = _key(STOPPING, "Stop cleanly at this local time, such as 06:30.", metavar="HH:MM")
    max_hours: Amount | None = _key(STOPPING, "Stop cleanly after this many hours.")
    grace: Amount = _key(STOPPING, "Seconds for files in progress to finish after a stop signal.", 30.0)
    on_finish: str | None = _key(
        STOPPING, "Command to run at the end, with summary.json on its standard input.", metavar="COMMAND"
    )
    webhook: str | None = _key(STOPPING, "URL to send summary.json to at the end.", metavar="URL")
    metrics_port: Port | None = _key(STOPPING, "Serve Prometheus metrics on 127.0.0.1 at this port.")

    progress: Literal["auto", "plain", "none", "json"] = _key(
        DISPLAY, "Progress display; auto: a live bar on a terminal, else a line every 30 s.", "auto"
    )
    quiet: bool = _key(DISPLAY, "Print nothing unless something is wrong.", False)
    verbose: bool = _key(DISPLAY, "Log in more detail.", False)

    named: frozenset[str] = frozenset()
    """Keys that the command line or job.toml gave; not a key itself."""

    def pipeline(self) -> PipelineOptions:
        """The pipeline's part of the settings."""
        from asr_batch.pipeline.options import PipelineOptions  # with numpy, which `--help` does without

        return PipelineOptions(
            language=_detected_if_auto(self.language),
            languages=tuple(language_code(one) or "" for one in (self.languages or "").split(",") if one),
            task=self.task,
            prompt=self.prompt,
            glossary=self.terms(),
            planner=self.planner,
            window=self.window,
            plain=self.plain,
            timestamps=self.timestamps,
            word_timestamps=self.word_timestamps,
            beam_size=self.beam_size,
            max_new_tokens=self.max_new_tokens,
            repair_budget=self.repair_budget,
            drop_hallucinations=self.drop_hallucinations,
        )

    def terms(self) -> tuple[str, ...]:
        """The terms of the glossary. Raises ConfigError."""
        return read_glossary(Path(self.glossary)) if self.glossary else ()

    def load(self) -> LoadOptions:
        """The settings for loading a model."""
        from asr_batch.models.recognizer import LoadOptions  # with numpy, which `--help` does without

        return LoadOptions(
            precision=self.precision,
            provider=self.provider,
            encoder=self.encoder,
            decoder=self.decoder,
            npu_service=self.npu_service,
            threads=self.threads or 0,
            batch_size=self.batch_size or 0,
            window=self.window,
        )


def _detected_if_auto(language: str | None) -> str | None:
    code = language_code(language) if language else None
    return None if code == AUTO else code


class Key(NamedTuple):
    """One row of the table; `type` is the annotation with its limits, as msgspec reads it."""

    name: str
    type: Any
    default: Any
    heading: str
    text: str
    metavar: str | None


def _keys() -> dict[str, Key]:
    types = get_type_hints(RunConfig, include_extras=True)
    named = [entry for entry in fields(RunConfig) if entry.metadata]
    return {
        entry.name: Key(entry.name, types[entry.name], entry.default, **entry.metadata) for entry in named
    }


KEYS = _keys()

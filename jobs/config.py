"""The settings of a job: one frozen record, from the command line and `job.toml`, checked once.

Every key of :class:`RunConfig` is an option of `run` and a key of `job.toml` under the same name; the
command line wins. Nothing else in the program reads settings, and nothing reads the environment.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr_batch.jobs.glossary import read_glossary
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.languages import AUTO, EXPECTED, language_code

if TYPE_CHECKING:  # for `--help` in a tenth of a second, without NumPy
    from asr_batch.manifests.records import AudioItem
    from asr_batch.models.recognizer import LoadOptions
    from asr_batch.pipeline.options import PipelineOptions


def _key(text: str, default: Any = None, **limits: Any) -> Any:
    """A key with its help text; `limits` are `choices`, `least` and `most`."""
    return field(default=default, metadata={"help": text, **limits})


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One job."""

    manifest: str | None = _key("Manifest: a file, a URL, or - for CSV on standard input.")
    sources: tuple[str, ...] = _key("Audio files, folders and globs instead of a manifest.", ())
    out: str | None = _key("Output folder of the data set.")
    model: str | None = _key("Model: a name or a folder; default: the best one installed.")
    second_model: str | None = _key("Larger model for windows that the first model fails on.")
    encoder: str = _key("Where the encoder runs.", "auto", choices=("auto", "cpu", "hailo"))
    decoder: str = _key("Where the decoder runs.", "auto", choices=("auto", "cpu", "npu"))
    npu_service: bool = _key("Share the NPU with other programs through HailoRT's service.", False)
    precision: str = _key("Weights to use.", "auto", choices=("auto", "fp32", "int8", "int4"))
    provider: str = _key("ONNX Runtime execution provider; auto: the fastest available.", "auto")
    address: str = _key(
        "Ray cluster: local (this machine only), auto (the cluster that this machine is in) or HOST:PORT.",
        "local",
    )
    workers: int | None = _key("Number of workers; default: by cores and memory.", least=1)
    no_ray: bool = _key("Run in this process, without Ray.", False)
    insecure_cluster: bool = _key("Accept a Ray cluster without authentication.", False)
    strict: bool = _key("Stop if a node of the cluster cannot be used, instead of leaving it out.", False)
    language: str | None = _key("Language of rows that name none, such as en; default: detect.")
    languages: str | None = _key("Languages that detection may choose from, separated by commas.")
    task: str = _key("Task of rows that name none.", "transcribe", choices=("transcribe", "translate"))
    prompt: str | None = _key("Text before every window, for rows that name no prompt.")
    glossary: str | None = _key("File of names and terms that may come up, one a line.")
    batch_size: int | None = _key("Windows to decode together; default: the engine's choice.", least=1)
    threads: int | None = _key("Threads per worker; default: by cores.", least=1)
    window: float | None = _key("Longest window in seconds; default: the model's.", least=1.0, most=1200.0)
    planner: str = _key(
        "Cut windows in silence, or at a fixed stride.", "silence", choices=("silence", "stride")
    )
    plain: bool = _key("Fixed windows, one greedy pass, no guards, as in reference implementations.", False)
    timestamps: bool = _key("Let the model predict timestamp tokens within windows.", False)
    word_timestamps: bool = _key("Write word times to the column `words`.", False)
    beam_size: int = _key("Beam size; 1 decodes greedily.", 1, least=1, most=16)
    max_new_tokens: int | None = _key("Maximum tokens per window; default: the model's limit.", least=1)
    repair_budget: float = _key(
        "Extra audio that may be decoded to repair windows, as a share of the audio.",
        0.1,
        least=0.0,
        most=10.0,
    )
    drop_hallucinations: bool = _key("Remove text that was probably not spoken.", False)
    format: str | None = _key(
        "Also write a file per row, as soon as it is done: srt, vtt, txt, json, tsv, jsonl or csv."
    )
    beside_audio: bool = _key("Put the files of --format next to their audio.", False)
    on_finish: str | None = _key("Command to run at the end, with summary.json on its standard input.")
    webhook: str | None = _key("URL to send summary.json to at the end.")
    fresh: bool = _key("Require an empty output folder; deletes nothing.", False)
    redo: bool = _key("Go on in a folder of another job, or with another model or settings.", False)
    min_coverage: float | None = _key(
        "Gate: minimum share of speech with text, from 0 to 1.", least=0.0, most=1.0
    )
    max_failures: str | None = _key("Gate: maximum failed rows, a number or a share such as 1%.")
    grace: float = _key("Seconds for files in progress to finish after a stop signal.", 30.0, least=0.0)
    stop_at: str | None = _key("Stop cleanly at this local time, such as 06:30.")
    max_hours: float | None = _key("Stop cleanly after this many hours.", least=0.0)
    hang_timeout: float = _key(
        "Seconds, plus 30 times its length, after which a file counts as hung.", 600.0, least=1.0
    )
    part_rows: int = _key("Maximum rows per part file.", 20_000, least=1)
    metrics_port: int | None = _key(
        "Serve Prometheus metrics on 127.0.0.1 at this port.", least=1, most=65535
    )
    progress: str = _key(
        "Progress display; auto: a live bar on a terminal, else a line every 30 s.",
        "auto",
        choices=("auto", "plain", "none", "json"),
    )
    quiet: bool = _key("Print nothing unless something is wrong.", False)
    verbose: bool = _key("Log in more detail.", False)
    named: frozenset[str] = frozenset()
    """Keys that the command line or job.toml gave; not a key itself."""

    def pipeline(self) -> PipelineOptions:
        """The part that the pipeline gets."""
        from asr_batch.pipeline.options import PipelineOptions

        return PipelineOptions(
            language=_detected_if_auto(self.language),
            languages=tuple(language_code(one) or "" for one in (self.languages or "").split(",") if one),
            task=self.task,
            prompt=self.prompt,
            glossary=self.terms(),
            planner=self.planner,  # type: ignore[arg-type]
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
        """The part that loading a model gets."""
        from asr_batch.models.recognizer import LoadOptions

        return LoadOptions(
            precision=self.precision,  # type: ignore[arg-type]
            provider=self.provider,
            encoder=self.encoder,  # type: ignore[arg-type]
            decoder=self.decoder,  # type: ignore[arg-type]
            npu_service=self.npu_service,
            threads=self.threads or 0,
            batch_size=self.batch_size or 0,
            window=self.window,
        )


FORMATS = ("srt", "vtt", "txt", "json", "tsv", "jsonl", "csv")
KEYS = {entry.name: entry for entry in fields(RunConfig) if entry.metadata}
LATER = ("prompt", "glossary")
LOAD_SETTINGS = ("precision", "provider", "encoder", "decoder")


def _detected_if_auto(language: str | None) -> str | None:
    code = language_code(language) if language else None
    return None if code == AUTO else code


def settings_base(config: RunConfig, second_sha256: str = "") -> dict[str, Any]:
    """Everything but the row's own that decides a transcript (not: workers, batch size, threads)."""
    load = asdict(config.load())
    settings = {name: load[name] for name in LOAD_SETTINGS}
    told = {**settings, **asdict(config.pipeline()), "second_model": second_sha256}
    # Keys that came later are left out where they say nothing, so that older data sets stay as they are.
    return {name: value for name, value in told.items() if value or name not in LATER}


class Settings:
    """The fingerprint of a row's settings: the job's with the row's overrides and span in their place."""

    def __init__(self, base: Mapping[str, Any]) -> None:
        self.base = dict(base)
        self._known: dict[tuple[Any, ...], str] = {}

    def sha256(self, item: AudioItem | None = None) -> str:
        """The fingerprint for `item`, or of the job."""
        if item is None:
            return _sha256(self.base)
        own = (item.start, item.end, item.channel, item.language, item.task, item.prompt, item.track)
        known = self._known.get(own)
        if known is None:
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[own] = _sha256(self._with(item))
        return known

    def _with(self, item: AudioItem) -> dict[str, Any]:
        settings = dict(self.base, start=item.start, end=item.end, channel=item.channel)
        settings["prompt"] = item.prompt or settings.get("prompt")
        settings["language"] = None if item.language == AUTO else item.language or settings["language"]
        settings["task"] = item.task or settings["task"]
        if item.track is not None:
            settings["track"] = item.track
        return settings


def _sha256(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def check_value(name: str, value: Any, where: str) -> Any:
    """`value` as the key `name` wants it; raises ConfigError naming `where` it stands."""
    entry = KEYS[name]
    kind, limits = str(entry.type), entry.metadata
    expected = _expected(kind, limits)
    if kind.startswith("tuple"):
        good = isinstance(value, (list, tuple)) and bool(value) and all(isinstance(v, str) for v in value)
    elif kind.startswith("bool"):
        good = isinstance(value, bool)
    elif kind.startswith(("int", "float")):
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        good = good and (kind.startswith("float") or isinstance(value, int))
        good = good and limits.get("least", value) <= value <= limits.get("most", value)
    else:
        value = str(value) if name in ("max_failures", "stop_at") else value
        good = isinstance(value, str) and value in limits.get("choices", (value,))
    if not good:
        raise ConfigError(f"{where}: {name} = {value!r} is not usable; expected {expected}")
    try:
        _check_meaning(name, value)
    except ValueError as error:
        raise ConfigError(f"{where}: {name} = {value!r} is not usable; expected {error}") from None
    if kind.startswith("tuple"):
        return tuple(value)
    return float(value) if kind.startswith("float") else value


def _expected(kind: str, limits: Mapping[str, Any]) -> str:
    if "choices" in limits:
        return ", ".join(limits["choices"])
    names = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}
    text = names.get(kind.split(" ")[0], "a list of paths")
    if "most" in limits:
        return f"{text} from {limits['least']} to {limits['most']}"
    return f"{text} from {limits['least']}" if "least" in limits else text


def _check_meaning(name: str, value: Any) -> None:
    if name == "max_failures":
        failures_allowed(value, 100)
    elif name == "stop_at":
        time_of_day(value)
    elif name == "format" and not set(formats_of(value)) <= set(FORMATS):
        raise ValueError(f"one or more of {','.join(FORMATS)}, separated by commas")
    elif name == "webhook" and not re.fullmatch(r"https?://[^\s/]+\S*", value):
        raise ValueError("an address such as https://example.org/hook")
    elif name == "languages" and not all(language_code(one) for one in value.split(",")):
        raise ValueError("languages such as en,de")
    elif name == "language" and not language_code(value):
        raise ValueError(EXPECTED)


def formats_of(text: str | None) -> tuple[str, ...]:
    """The formats that `--format` names, each once."""
    return tuple(dict.fromkeys(part.strip().lower() for part in (text or "").split(",") if text))


def failures_allowed(text: str, rows: int) -> float:
    """How many failed rows `--max-failures` allows among `rows`. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    if match is None or (match[2] and float(match[1]) > 100) or (not match[2] and "." in match[1]):
        raise ValueError("a number of rows or a share such as 1%")
    return float(match[1]) * (rows / 100 if match[2] else 1)


def time_of_day(text: str) -> time:
    """The time that `--stop-at` names. Raises ValueError."""
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


def build_config(given: Mapping[str, Any], file: Mapping[str, Any] | None = None) -> RunConfig:
    """The settings from checked values: `given` on the command line wins over those of the `file`."""
    told = {name: value for name, value in given.items() if value is not None}
    kept = dict(file or {})
    if kept.keys() >= {"manifest", "sources"}:
        raise ConfigError("job.toml has both manifest and sources; expected one of them")
    if told.keys() & {"manifest", "sources"}:
        kept = {name: value for name, value in kept.items() if name not in ("manifest", "sources")}
    values = {**kept, **told}
    config = _with_manifest(RunConfig(**values, named=frozenset(values)))
    if not config.manifest and not config.sources:
        raise ConfigError(
            "SOURCE is missing: give a manifest, or audio files, folders and globs, on the command line "
            "or in job.toml as manifest or sources"
        )
    if config.glossary:
        config = replace(config, glossary=str(Path(config.glossary).absolute()))
        config.terms()
    if config.beside_audio and not config.format:
        raise ConfigError("--beside-audio needs --format, such as --format srt,txt")
    if not config.out:
        raise ConfigError("--out DIR is missing; give it on the command line or in job.toml as out")
    return config


def _with_manifest(config: RunConfig) -> RunConfig:
    """The settings with the one source that is a manifest as their manifest. Raises ConfigError."""
    from asr_batch.manifests.sources import one_manifest

    manifest = one_manifest(config.sources) if config.sources else None
    return replace(config, manifest=manifest, sources=()) if manifest else config


def from_job(options: Mapping[str, Any], **changes: Any) -> RunConfig:
    """The settings that job.json keeps, with `changes`."""
    known = {name: value for name, value in options.items() if name in KEYS}
    known["sources"] = tuple(known.get("sources") or ())
    return replace(RunConfig(**known), **changes)

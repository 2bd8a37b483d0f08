"""The figures of summary.json as Prometheus metrics: a textfile, and an endpoint on 127.0.0.1.

Names follow prometheus.io/docs/practices/naming: base units, `_ratio` for shares, `_info` for texts. All
are gauges, because they describe the state of one data set, which a resumed run continues. The label
`dataset` separates several jobs in one node_exporter folder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from asr_batch.jobs.dataset.summary import Gate, RowCounts, Summary
from asr_batch.manifests.errors import ConfigError
from asr_batch.workers.pool import NodeStatus

PLAIN = (
    ("audio_seconds", "audio_seconds", "Seconds of audio in the finished rows."),
    ("speech_seconds", "speech_seconds", "Seconds of speech in the finished rows, according to the audit."),
    ("decoded_seconds", "decoded_seconds", "Seconds of audio that went through the recognizer."),
    ("wall_seconds", "wall_seconds", "Wall time of all runs of the job, in seconds."),
    ("rtfx", "realtime_factor", "Seconds of audio done per second of wall time, over all runs of the job."),
    ("coverage", "coverage_ratio", "Share of the speech with text."),
    ("wer", "word_error_ratio", "Word errors over reference words, where the manifest has references."),
    ("cer", "character_error_ratio", "Character errors over reference characters."),
    ("occupancy", "decoder_occupancy_ratio", "Share of the decoder's slots that were in use."),
    ("exit_code", "last_run_exit_code", "Exit code of the last run; absent while it runs."),
)
NODE = (
    ("alive", "node_up", "1 if the node answers, else 0."),
    ("workers", "node_workers", "Workers on the node."),
    ("audio_seconds", "node_audio_seconds", "Seconds of audio done on the node."),
    ("decode_seconds", "node_decode_seconds", "Seconds that workers of the node spent decoding."),
    ("occupancy", "node_decoder_occupancy_ratio", "Share of the node's decoder slots that were in use."),
    ("temperature", "node_temperature_celsius", "Temperature of the node's accelerator or processor."),
)
GATE = (
    ("value", "gate_value", "Measured value of a gate."),
    ("limit", "gate_limit", "Limit of a gate."),
    ("held", "gate_held", "1 if the gate holds, else 0."),
)


def render(summary: Summary) -> str:
    """Prometheus text exposition of a summary.json; omits missing figures."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SummaryCollector(lambda: summary))
    return generate_latest(registry).decode("utf-8")


@dataclass(frozen=True, slots=True)
class MetricsServer:
    """A running endpoint on `port`."""

    port: int
    _server: WSGIServer
    _thread: Thread

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def serve(port: int, get_summary: Callable[[], Summary | None]) -> MetricsServer:
    """Serve the metrics of a running job at http://127.0.0.1:PORT/metrics (0: any free port).

    `get_summary` is called on every scrape, from another thread. Raises ConfigError for a port in use.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SummaryCollector(get_summary))
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--metrics-port {port} cannot be used: {error}; choose a free port") from error
    return MetricsServer(int(server.server_port), server, thread)


@dataclass(frozen=True, slots=True)
class SummaryCollector(Collector):
    """Turns the current summary into metric families."""

    get_summary: Callable[[], Summary | None]

    def collect(self) -> Iterator[Metric]:
        """All families of the summary, each with the data set as a label; nothing before there is one."""
        summary = self.get_summary()
        if summary is None:
            return
        dataset = summary.dataset
        yield from _plain(summary, dataset)
        yield from _counts(summary, dataset)
        yield from _times(summary, dataset)
        yield from _table({node.node: node for node in summary.nodes}, NODE, "node", dataset)
        yield from _npus(summary.nodes, dataset)
        yield from _table({gate.name: gate for gate in summary.gates}, GATE, "gate", dataset)
        yield _info(summary, dataset)


def _plain(summary: Summary, dataset: str) -> Iterator[Metric]:
    for key, name, text in PLAIN:
        yield from _family(name, text, ["dataset"], [((dataset,), getattr(summary, key))])


def _counts(summary: Summary, dataset: str) -> Iterator[Metric]:
    yield from _family(
        "manifest_rows", "Rows of the manifest.", ["dataset"], [((dataset,), summary.rows.total)]
    )
    rows = {name: getattr(summary.rows, name) for name in RowCounts.__struct_fields__ if name != "total"}
    yield from _by("rows", "Rows by status.", "status", rows, dataset)
    yield from _by("error_rows", "Failed and partial rows by error code.", "code", summary.errors, dataset)


def _by(name: str, text: str, label: str, values: Mapping[str, Any], dataset: str) -> Iterator[Metric]:
    samples = [((dataset, key), value) for key, value in values.items()]
    yield from _family(name, text, ["dataset", label], samples)


def _times(summary: Summary, dataset: str) -> Iterator[Metric]:
    for key, what in (("started_at", "started"), ("finished_at", "stopped")):
        name, text = f"last_run_{what}_timestamp_seconds", f"Unix time at which the last run {what}."
        yield from _family(name, text, ["dataset"], [((dataset,), _unix(getattr(summary, key)))])


def _table(
    lines: Mapping[str, NodeStatus] | Mapping[str, Gate],
    columns: Iterable[tuple[str, str, str]],
    label: str,
    dataset: str,
) -> Iterator[Metric]:
    # `lines` has one line per label value: a duplicate series makes the whole file invalid.
    for column, name, text in columns:
        samples = [((dataset, value), getattr(line, column)) for value, line in lines.items()]
        yield from _family(name, text, ["dataset", label], samples)


def _npus(nodes: Iterable[NodeStatus], dataset: str) -> Iterator[Metric]:
    """Counters and readings of the nodes' NPUs, in one family with the name as a label."""
    unique = {node.node: node.npu for node in nodes}
    samples = [((dataset, node, what), value) for node, npu in unique.items() for what, value in npu.items()]
    text = "Counters and readings of the node's NPU: windows, retries, configurations, temperature, clock."
    yield from _family("node_npu", text, ["dataset", "node", "what"], samples)


def _info(summary: Summary, dataset: str) -> Metric:
    model = summary.model
    labels = {
        "model_name": model.name,
        "model_family": model.family,
        "model_sha256": model.sha256,
        "precision": model.precision,
        "encoder_backend": model.encoder_backend,
        "provider": model.provider,
        "dataset": dataset,
        "version": summary.version,
    }
    family = InfoMetricFamily("asr_batch_job", "Version and model of the last run.")
    family.add_metric([], {name: value for name, value in labels.items() if value})
    return family


def _family(
    name: str, text: str, labels: list[str], samples: Iterable[tuple[tuple[str, ...], Any]]
) -> Iterator[Metric]:
    """One gauge, or None if no sample is a number."""
    family = GaugeMetricFamily(f"asr_batch_{name}", text, labels=labels)
    for values, raw in samples:
        number = _number(raw)
        if number is not None:
            family.add_metric(values, number)
    if family.samples:
        yield family


def _number(value: Any) -> float | None:
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None


def _unix(text: str | None) -> float | None:
    """Seconds since 1970 of an ISO 8601 text."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None

"""`verify --sample`: transcribes a random sample of a data set again and compares the results."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asr_batch.jobs.config.fingerprint import Settings
from asr_batch.jobs.config.keys import RunConfig
from asr_batch.jobs.console.signals import StopRequest
from asr_batch.jobs.dataset.facts import look_at
from asr_batch.jobs.dataset.index import ENTRY, Index
from asr_batch.jobs.dataset.schema import Row
from asr_batch.jobs.dataset.verify import rows_of
from asr_batch.jobs.run.driver.commits import Pace
from asr_batch.jobs.run.driver.feed import Feed, Resume
from asr_batch.jobs.run.driver.loop import Driver
from asr_batch.jobs.run.driver.rows import RowMaker
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.reader import Manifest
from asr_batch.manifests.records import AudioItem
from asr_batch.pipeline.text.assembling import assemble
from asr_batch.pipeline.windows.spans import split_item
from asr_batch.workers.pool import Pool


def sample_size(text: str, rows: int) -> int:
    """The size of a sample: `5%` of the rows (at least one), or a number. Raises ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    if match is None or (match[2] and float(match[1]) > 100):
        raise ConfigError(f"--sample {text!r} is not usable; expected a share such as 5% or a number of rows")
    count = -int(-float(match[1]) * rows // 100) if match[2] else int(float(match[1]))
    return min(rows, count)


def choose(ids: Sequence[str], count: int, seed: int) -> list[str]:
    """A random sample that depends only on the ids and the seed."""
    return sorted(random.Random(seed).sample(sorted(ids), count))  # noqa: S311 - no secret


class _Collector:
    """Collects finished rows instead of a ledger."""

    def __init__(self) -> None:
        self.index = Index(np.empty(0, dtype=ENTRY))
        self.rows: dict[str, tuple[Row, list[Row]]] = {}

    def add(self, row: Row, windows: Sequence[Row]) -> None:
        """Keep a row."""
        self.rows[row["id"]] = (row, list(windows))

    def commit(self) -> int:
        """No-op."""
        return 0

    def waiting(self) -> int:
        """Always 0."""
        return 0

    def find_row(self, row_id: str) -> tuple[Row, list[Row]] | None:
        """A collected row."""
        return self.rows.get(row_id)


class _Unobserved:
    """An observer that does nothing."""

    def row_done(self, row: Row, before: int | None) -> None:
        """No-op."""

    def span_done(self, decoded_seconds: float) -> None:
        """No-op."""

    def tick(self, driver: Driver) -> None:
        """No-op."""


def transcribe_again(
    items: Iterator[AudioItem], pool: Pool, settings: Settings, config: RunConfig, stop: StopRequest
) -> dict[str, tuple[Row, list[Row]]]:
    """The rows of `items`, transcribed by `pool`."""
    collector = _Collector()
    feed = Feed(items, Resume(collector.index, pool.info.sha256, settings), looker=look_at)
    maker = RowMaker(pool.info, assemble, None)
    pace = Pace(grace=0.0, hang_timeout=config.hang_timeout)
    try:
        Driver(feed, pool, collector, maker, split_item, _Unobserved(), stop=stop, pace=pace).run()
    finally:
        feed.close()
    return collector.rows


def compare(
    root: Path,
    again: Mapping[str, tuple[Row, list[Row]]],
    model_sha256: str,
    note: Callable[[str], None],
) -> Iterator[str]:
    """Describe rows whose text, segments or tokens differ from the data set.

    Rows decoded by kernels in one run and by graphs in the other may differ; a `note` counts them.
    """
    kept = rows_of(root, list(again))
    others = [row_id for row_id in again if _other_arithmetic(kept[row_id][1], again[row_id][1])]
    if others:
        changed = sum(kept[row_id][0]["text"] != again[row_id][0]["text"] for row_id in others)
        note(
            f"{len(others)} rows were decoded by kernels in one run and by ONNX Runtime's graphs in the "
            f"other, whose results differ slightly; {changed} of them have a different text. To compare "
            "them, verify on a machine for which `asr-batch doctor` reports the same kernels"
        )
        again = {row_id: rows for row_id, rows in again.items() if row_id not in set(others)}
    for row_id, (row, windows) in sorted(again.items()):
        old, old_windows = kept[row_id]
        if old["model_sha256"] != model_sha256:
            yield f"row {row_id!r} was made with another model ({old['model_sha256'][:16]})"
            continue
        for name, before, now in (
            ("status", old["status"], row["status"]),
            ("text", old["text"], row["text"]),
            ("segments", _plain(old["segments"]), _plain(row["segments"])),
            ("tokens", [w["tokens"] for w in old_windows], [w["tokens"] for w in windows]),
        ):
            if before != now:
                yield f"row {row_id!r}: {name} differs: {_short(before)} before, {_short(now)} now"


def _other_arithmetic(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the windows of a row were decoded differently; unknown in older data sets."""
    ways = [{one["arithmetic"] for one in windows if one.get("arithmetic")} for windows in (before, now)]
    return all(ways) and ways[0] != ways[1]


def _plain(segments: Sequence[Mapping[str, Any]] | None) -> list[tuple[Any, ...]]:
    return [(round(s["start"], 6), round(s["end"], 6), s["text"], s["channel"]) for s in segments or []]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def sampled_items(manifest: Manifest, ids: Sequence[str]) -> Iterator[AudioItem]:
    """The manifest's rows with these ids."""
    wanted = set(ids)
    return (item for item in manifest.rows() if item.id in wanted)

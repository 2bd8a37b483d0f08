"""`asr-batch watch`: scans a folder until stopped; files that arrive become rows of one data set.

Each batch of arrivals is a separate run over a growing manifest; the models stay in memory between runs.
So ledger, resume, summary and files work as in `run`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asr_batch.jobs.config.keys import RunConfig
from asr_batch.jobs.console.messages import Messages, hms_short, one_line, real_stderr, told
from asr_batch.jobs.console.signals import StopRequest, stop_signals
from asr_batch.jobs.dataset.reading import stream
from asr_batch.jobs.dataset.summary import find_summary
from asr_batch.jobs.dataset.tables import JOB, open_transcripts
from asr_batch.jobs.run.guard import check_manifest_place, held_for
from asr_batch.jobs.run.job import run_session, safely
from asr_batch.jobs.run.notices import Notices
from asr_batch.jobs.run.pools import KeptPool
from asr_batch.jobs.run.session import Parts
from asr_batch.jobs.watch.arrivals import Arrivals
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.sources import FILE, grown_manifest, made_manifest

STILL = (1, 2, 5, 129, 130, 143)
"""Exit codes of a batch that end the loop."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that a file must stay unchanged, and seconds between two scans."""

    settle: float = 5.0
    interval: float = 2.0


def watch_folder(config: RunConfig, pace: Pace | None = None, parts: Parts | None = None) -> int:
    """Transcribe files that arrive in the one folder of `config.sources`; returns the exit code.

    Ends at a signal.
    """
    with stop_signals() as stop, real_stderr() as stream:
        messages = OnceMessages(quiet=config.quiet, as_json=config.progress == "json", stream=stream)
        stop.last_words = messages.stopped_at_once
        watching = _Watching(config, messages, stop, pace or Pace(), parts or Parts())
        return safely(watching.run, messages, config)


class OnceMessages(Messages):
    """Prints each message once, however many batches cause it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._said: set[str] = set()

    def complain(self, text: str) -> None:
        """Print the message unless it was printed before."""
        if text not in self._said:
            self._said.add(text)
            super().complain(text)

    def row(self, row: Mapping[str, Any]) -> None:
        """Print one line for a finished row."""
        line = f"{one_line(row['id'])}  {row['status']}  {hms_short(row['duration'])}  {one_line(told(row))}"
        if not self.quiet or row["status"] in ("failed", "partial"):
            super().complain(line.rstrip())


@dataclass(slots=True)
class _Watching:
    config: RunConfig
    messages: OnceMessages
    stop: StopRequest
    pace: Pace
    parts: Parts
    root: Path = field(init=False)

    def run(self) -> int:
        """Scan, and run a batch whenever files have arrived."""
        self.root = Path(self.config.out or "")
        folder = self._folder()
        check_manifest_place(self.root)
        arrivals, notices = Arrivals(folder, self.pace.settle), Notices(self.config, self.messages.complain)
        with held_for(self.root, self.config), self._kept_pool() as parts:
            self.messages.say(f"watching {folder}; stop with Ctrl-C or SIGTERM")
            while not self.stop.count:
                begun = time.monotonic()
                arrived = arrivals.look()
                for error in arrivals.closed:
                    self.messages.complain(f"asr-batch: {error.filename} cannot be read: {error.strerror}")
                if arrived:
                    code = self._batch(folder, arrived, parts)
                    if code in STILL or self._did_something():
                        notices.send(self.root, code)
                    if code in STILL:
                        notices.wait(self.stop)
                        return code
                else:
                    self._pause(max(self.pace.interval, 10 * (time.monotonic() - begun)))
            notices.wait(self.stop)
        return self.stop.exit_code or 0

    def _folder(self) -> Path:
        if len(self.config.sources) != 1 or not Path(self.config.sources[0]).is_dir():
            given = ", ".join(self.config.sources) or self.config.manifest
            raise ConfigError(f"watch needs one existing folder, not {given}")
        return Path(self.config.sources[0]).absolute()

    @contextmanager
    def _kept_pool(self) -> Iterator[Parts]:
        kept = KeptPool(self.parts.start_pool)
        try:
            yield replace(
                self.parts,
                start_pool=kept.start,
                hold=lambda *_: nullcontext(),
                last_words=False,
                any_manifest=True,
            )
        finally:
            kept.end()

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stop.count and time.monotonic() < until:
            time.sleep(min(0.1, seconds))

    def _batch(self, folder: Path, arrived: list[Path], parts: Parts) -> int:
        before = self._finished()
        with tempfile.TemporaryDirectory(prefix="asr-batch-") as spool:
            data = grown_manifest(dict.fromkeys(arrived, folder), self.root)
            manifest = made_manifest(data, self.root, Path(spool) / FILE)
            code = run_session(self.config, self.messages, self.stop, parts, manifest)
        self._tell(before)
        return code

    def _did_something(self) -> bool:
        """Whether the last batch finished rows: files of a mount that came back are no news."""
        summary = find_summary(self.root)
        return summary is not None and summary.run.rows > 0

    def _finished(self) -> Any:
        """Time at which the last row finished; None before the first."""
        import pyarrow.compute as pc  # slow to import

        if not (self.root / JOB).exists():
            return None
        return pc.max(open_transcripts(self.root).to_table(["finished_at"]).column(0)).as_py()

    def _tell(self, before: Any) -> None:
        """Print the rows that finished after `before`; Arrow skips the others, however many there are."""
        import pyarrow.compute as pc  # as above

        if not (self.root / JOB).exists():
            return
        columns = ("id", "status", "duration", "text", "error_message")
        where = None if before is None else pc.field("finished_at") > before
        for row in stream(open_transcripts(self.root), columns, where):
            self.messages.row(row)

"""The steps of a run: model, manifest, ledger, pool and driver, from the first to the last."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from asr_batch.jobs.config.fingerprint import Settings, settings_base
from asr_batch.jobs.config.keys import RunConfig
from asr_batch.jobs.console.logs import log_to
from asr_batch.jobs.console.messages import Messages, native_stderr_to
from asr_batch.jobs.console.progress import make_progress
from asr_batch.jobs.console.signals import StopRequest
from asr_batch.jobs.dataset.facts import look_at
from asr_batch.jobs.dataset.files import output_errors
from asr_batch.jobs.dataset.index import Index
from asr_batch.jobs.dataset.job_file import Job, find_job, part_metadata, write_job
from asr_batch.jobs.dataset.ledger import Ledger, Limits
from asr_batch.jobs.model_choice import Choice, choose_model, folder_sha256
from asr_batch.jobs.quality import compare
from asr_batch.jobs.run.driver.commits import Book, Pace
from asr_batch.jobs.run.driver.feed import Feed, Looker, Resume
from asr_batch.jobs.run.driver.loop import Driver
from asr_batch.jobs.run.driver.rows import Assemble, RowMaker, Split
from asr_batch.jobs.run.ending import cut_off, provider_text, record_end, say_end
from asr_batch.jobs.run.figures import Figures, exit_code, judge_gates
from asr_batch.jobs.run.files import FileBook, files_of
from asr_batch.jobs.run.guard import (
    check_abilities,
    contents,
    deadline,
    held_for,
    leave_as_it_was,
    warnings_of,
    with_slowness,
)
from asr_batch.jobs.run.manifest import find_manifest, keep_manifest
from asr_batch.jobs.run.pools import LazyPool, load_ahead, start_pool
from asr_batch.jobs.run.same_job import SameJob, own_settings
from asr_batch.jobs.run.totals import Totals
from asr_batch.jobs.run.tracker import Tracker
from asr_batch.jobs.views.row_files import RowFiles
from asr_batch.manifests.errors import AsrBatchError, ConfigError, OutputError, WorkerFatalError
from asr_batch.manifests.reader import Manifest
from asr_batch.manifests.survey import Survey, no_rows_text, survey
from asr_batch.models.load import identify
from asr_batch.models.recognizer import ModelInfo
from asr_batch.pipeline.text.assembling import assemble
from asr_batch.pipeline.text.terms import Terms
from asr_batch.pipeline.windows.spans import split_item
from asr_batch.workers.pool import Pool

log = logging.getLogger("asr_batch")

PoolStarter = Callable[[RunConfig, Path], Pool]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a session that tests and benchmarks can replace."""

    start_pool: PoolStarter = start_pool
    assemble: Assemble = assemble
    split: Split = split_item
    looker: Looker = look_at
    pace: Pace = field(default_factory=Pace)
    hold: Callable[[Path, RunConfig], AbstractContextManager[None]] = held_for
    last_words: bool = True
    any_manifest: bool = False


class Session:
    """The steps of a run in order; one stack closes what they open."""

    def __init__(
        self, config: RunConfig, messages: Messages, redo: Collection[str], parts: Parts, stop: StopRequest
    ) -> None:
        self.config, self.messages, self.redo, self.parts, self.stop = config, messages, redo, parts, stop
        self.root = Path(config.out or "")
        self.stack = ExitStack()
        self.begun = time.monotonic()
        self.files: RowFiles | None = None
        self.job: Job | None = None
        self.feed: Feed

    def run(self, manifest: Manifest | None) -> int:
        """Run all steps; returns the exit code. An error of the configuration leaves `root` as it was.

        Raises ConfigError, OutputError, OutputHeldError, WorkerFatalError.
        """
        before = contents(self.root)
        try:
            with self.stack as stack:
                return self._run(stack, manifest)
        except (ConfigError, KeyboardInterrupt) as error:
            leave_as_it_was(self.root, before)
            if isinstance(error, ConfigError):
                raise
            self.messages.complain("asr-batch: stopped before any work")
            return self.stop.exit_code or 1

    def _run(self, stack: ExitStack, manifest: Manifest | None) -> int:
        if self.root.exists():
            stack.enter_context(self.parts.hold(self.root, self.config))
        self.job = find_job(self.root)
        self.config = own_settings(self.config, self.job)
        same = self.parts.any_manifest or manifest is not None
        manifest = manifest or find_manifest(self.config, self.root, stack)
        found = survey(manifest)
        if not found.rows:
            raise ConfigError(no_rows_text(manifest.name))
        for warning in warnings_of(self.config, found):
            self.messages.complain(f"asr-batch: warning: {warning}")
        # After the manifest's errors, because they may be downloaded, and before workers look for them.
        with self.stop.interruptible():
            choice = self._choice(self.config.model)
            second = self._choice(self.config.second_model).path if self.config.second_model else None
        if not self.root.exists():
            stack.enter_context(self.parts.hold(self.root, self.config))
        stack.enter_context(log_to(self.root, verbose=self.config.verbose))
        stack.enter_context(native_stderr_to(self.root / "stderr.log"))
        if self.parts.start_pool is start_pool and not self.job:
            load_ahead(self.config, choice.path)
        try:
            return self._work(choice, second, keep_manifest(manifest, self.config, self.root), found, same)
        except AsrBatchError as error:
            log.error("%s", error)
            raise
        except Exception:
            log.exception("unexpected error")
            raise

    def _choice(self, model: str | None) -> Choice:
        """The model; the seconds that it is downloaded and compiled, once, are none of the job's."""
        before = time.monotonic()
        choice = choose_model(model, say=self.messages.say)
        self.begun += time.monotonic() - before
        return choice

    def _work(
        self, choice: Choice, second: Path | None, manifest: Manifest, found: Survey, same: bool
    ) -> int:
        config = self.config
        choice = with_slowness(choice, config)
        if choice.warning:
            self.messages.complain(choice.warning)
        if choice.note:
            self.messages.say(choice.note)
        pool = self._pool(choice)
        check_abilities(config, pool.info)
        settings = Settings(settings_base(config, folder_sha256(second) if second else ""))
        if self.job is not None:
            compared = None if same else manifest
            SameJob(self.root, config, self.job).check(pool.info, settings, compared, found)
        ledger = self._ledger(manifest, found, pool.info, settings)
        resume = Resume(ledger.index, pool.info.sha256, settings, self.redo)
        feed = self.feed = Feed(manifest.rows(), resume, looker=self.parts.looker)
        self.stack.callback(feed.close)
        tracker = self._tracker(found, ledger.index, pool, choice)
        self.files = files_of(config, self.root, manifest, found)
        book = FileBook(ledger, self.files) if self.files else ledger
        driver = self._driver(feed, pool, book, tracker)
        log.info("run started", extra={"data": {"rows": found.rows, "in_data_set": tracker.totals.rows}})
        return self._drive(driver, tracker, found)

    def _ledger(self, manifest: Manifest, found: Survey, model: ModelInfo, settings: Settings) -> Ledger:
        """The ledger of the data set, whose job.json describes this run."""
        limits = Limits(rows=self.config.part_rows)
        ledger = Ledger(self.root, found.extra, part_metadata(model, settings), limits)
        for note in ledger.notes:
            log.warning(note)
        left = int((~ledger.index.present(found.ids)).sum())
        with output_errors(self.root):
            write_job(self.root, self.config, manifest, found, left, model, settings)
        return ledger

    def _driver(self, feed: Feed, pool: Pool, book: Book, tracker: Tracker) -> Driver:
        config, terms = self.config, self.config.terms()
        maker = RowMaker(pool.info, self.parts.assemble, compare, Terms(terms) if terms else None)
        return Driver(
            feed,
            pool,
            book,
            maker,
            self.parts.split,
            tracker,
            stop=self.stop,
            out_of_time=deadline(config),
            pace=replace(self.parts.pace, grace=config.grace, hang_timeout=config.hang_timeout),
        )

    def _pool(self, choice: Choice) -> Pool:
        """The pool; it starts when there is work, if the model's files describe the model."""
        start = self.parts.start_pool
        if start is start_pool:
            start = partial(start_pool, ahead=self._audio_ahead)
        known = identify(choice.path)
        pool: Pool
        if known is not None:
            pool = LazyPool(known, lambda: start(self.config, choice.path), self.stop)
        else:
            with self.stop.starting():
                pool = self.parts.start_pool(self.config, choice.path)
        self.stack.callback(pool.close)
        return pool

    def _audio_ahead(self, enough: float) -> float:
        return self.feed.audio_ahead(enough)

    def _tracker(self, found: Survey, index: Index, pool: Pool, choice: Choice) -> Tracker:
        totals = Totals.of(index.entries[index.present(found.ids)])
        figures = Figures.resumed(self.root, self.config, found.rows, totals, self.begun, pool)
        figures.warning = choice.warning
        progress = make_progress(self.config.progress, quiet=self.config.quiet, stream=self.messages.stream)
        self.stack.callback(progress.close)
        tracker = Tracker(figures, progress, lambda position: index.entries[position].copy())
        if self.config.metrics_port is not None:
            from asr_batch.jobs.console.metrics import serve  # prometheus_client is slow to import

            self.stack.callback(serve(self.config.metrics_port, lambda: tracker.latest).close)
        return tracker

    def _drive(self, driver: Driver, tracker: Tracker, found: Survey) -> int:
        self.stop.while_starting = partial(cut_off, tracker.figures, driver.pool, self.stop, self.messages)
        try:
            ending = driver.run()
        except ConfigError:  # the model could not be loaded: nothing was started
            raise
        except (OutputError, WorkerFatalError):
            record_end(tracker.figures, "failed", 1, driver.pool)
            raise
        except Exception:
            record_end(tracker.figures, "unexpected error", 1, driver.pool)
            raise
        stopped_by = self.stop.exit_code if ending == "stopped" else None
        tracker.figures.clock.idle = ending == "finished" and not tracker.figures.run_rows
        code = exit_code(tracker.totals, judge_gates(self.config, tracker.totals, found.rows), stopped_by)
        summary = record_end(tracker.figures, ending, code, driver.pool)
        tracker.last(driver, ending)
        self.stack.close()  # remove the bar and close the pool before the final output
        if self.parts.last_words:
            say_end(self.messages, self.root, found, summary, self.files)
            if summary.run.rows and (text := provider_text(self.config.provider, driver.pool.info)):
                self.messages.complain(text)
        return code

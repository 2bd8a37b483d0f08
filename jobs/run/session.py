"""A run, from its settings to its exit code."""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from asr_batch.jobs.config.fingerprint import Settings, settings_base
from asr_batch.jobs.config.keys import RunConfig
from asr_batch.jobs.config.values import formats_of
from asr_batch.jobs.console.logs import log_to
from asr_batch.jobs.console.messages import (
    Messages,
    misspelt_text,
    native_stderr_to,
    real_stderr,
    tell_result,
)
from asr_batch.jobs.console.progress import make_progress
from asr_batch.jobs.console.signals import StopRequest, stop_signals
from asr_batch.jobs.dataset.facts import look_at
from asr_batch.jobs.dataset.files import copy_file, output_errors, write_text
from asr_batch.jobs.dataset.index import Index
from asr_batch.jobs.dataset.job_file import Job, find_job, part_metadata, write_job
from asr_batch.jobs.dataset.json_files import plain, write_document
from asr_batch.jobs.dataset.ledger import Ledger, Limits
from asr_batch.jobs.dataset.parts import part_names
from asr_batch.jobs.dataset.summary import (
    STATUS,
    SUMMARY,
    Status,
    Summary,
    find_status,
    find_summary,
)
from asr_batch.jobs.dataset.tables import open_transcripts
from asr_batch.jobs.model_choice import Choice, choose_model, folder_sha256
from asr_batch.jobs.quality import compare
from asr_batch.jobs.run.driver.commits import Book, Pace
from asr_batch.jobs.run.driver.feed import Feed, Looker, Resume
from asr_batch.jobs.run.driver.loop import Driver, Ending
from asr_batch.jobs.run.driver.rows import Assemble, RowMaker, Split
from asr_batch.jobs.run.ending import failures_text, shown_rows, summary_text
from asr_batch.jobs.run.figures import Clock, Figures, exit_code, judge_gates
from asr_batch.jobs.run.files import FileBook
from asr_batch.jobs.run.guard import (
    check_abilities,
    check_manifest_place,
    contents,
    deadline,
    held_for,
    leave_as_it_was,
)
from asr_batch.jobs.run.notices import Notices
from asr_batch.jobs.run.pools import LazyPool, load_ahead, start_pool
from asr_batch.jobs.run.same_job import SameJob, own_settings
from asr_batch.jobs.run.totals import Totals
from asr_batch.jobs.run.watch import Watch
from asr_batch.jobs.views.beside import Beside
from asr_batch.jobs.views.row_files import RowFiles
from asr_batch.manifests.errors import (
    AsrBatchError,
    ConfigError,
    OutputError,
    WorkerFatalError,
)
from asr_batch.manifests.location import is_remote
from asr_batch.manifests.reader import STANDARD_INPUT, Manifest, open_manifest
from asr_batch.manifests.sources import FILE, open_sources
from asr_batch.manifests.survey import Survey, survey
from asr_batch.models.load import identify
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


def run_job(
    config: RunConfig,
    *,
    manifest: Manifest | None = None,
    redo: Collection[str] = (),
    parts: Parts | None = None,
) -> int:
    """Run a job and return its exit code; writes messages for the user to stderr.

    `redo` names the statuses of the rows that are transcribed again; all others are skipped (`retry`).
    """
    with stop_signals() as stop, real_stderr() as stream:
        messages = Messages(quiet=config.quiet, as_json=config.progress == "json", stream=stream)
        session = _Session(config, messages, frozenset(redo), parts or Parts(), stop)
        notices = Notices(config, messages.complain)
        code = safely(lambda: session.run(manifest), messages, config)
        notices.send(session.root, code)
        notices.wait(stop)
    if code not in (1, 2, 5) and not config.quiet and session.root.exists():
        tell_result(config.out or "")
    return code


def run_session(
    config: RunConfig, messages: Messages, stop: StopRequest, parts: Parts, manifest: Manifest
) -> int:
    """One run of a command that makes several; raises its errors."""
    return _Session(config, messages, (), parts, stop).run(manifest)


def safely(work: Callable[[], int], messages: Messages, config: RunConfig) -> int:
    """The exit code of `work`; an error is printed as one sentence and gives its exit code."""
    try:
        with redirect_stdout(sys.stderr):  # Ray's messages must not appear among results
            return work()
    except AsrBatchError as error:
        messages.complain(f"asr-batch: {error}")
        return error.exit_code
    except Exception as error:
        log.exception("unexpected error")
        place = Path(config.out or "") / "log.jsonl"
        where = f"; {place} has the traceback" if place.exists() else ""
        messages.complain(f"asr-batch: unexpected error ({error!r}){where}")
        return 1


class _Session:
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
        before = contents(self.root)
        try:
            with self.stack as stack:
                return self._run(stack, manifest)
        except ConfigError:
            leave_as_it_was(self.root, before)
            raise

    def _run(self, stack: ExitStack, manifest: Manifest | None) -> int:
        if self.root.exists():
            stack.enter_context(self.parts.hold(self.root, self.config))
        self.job = find_job(self.root)
        self.config = own_settings(self.config, self.job)
        choice = choose_model(self.config.model)
        same = self.parts.any_manifest or manifest is not None
        manifest = manifest or self._open_manifest()
        found = survey(manifest)
        if not found.rows:
            raise ConfigError(f"{manifest.name}: no rows; expected at least one below the header")
        self._warn_of_columns(found)
        if self.stop.exit_code is not None:
            self.messages.complain("asr-batch: stopped before any work")
            return self.stop.exit_code
        if not self.root.exists():
            stack.enter_context(self.parts.hold(self.root, self.config))
        stack.enter_context(log_to(self.root, verbose=self.config.verbose))
        stack.enter_context(native_stderr_to(self.root / "stderr.log"))
        if self.parts.start_pool is start_pool and not self.job:
            load_ahead(self.config, choice.path)
        try:
            return self._work(choice, self._kept(manifest), found, same)
        except AsrBatchError as error:
            log.error("%s", error)
            raise
        except Exception:
            log.exception("unexpected error")
            raise

    def _warn_of_columns(self, found: Survey) -> None:
        for name, meant in found.misspelt.items():
            self.messages.complain(f"asr-batch: warning: {misspelt_text(name, meant)}")

    def _open_manifest(self) -> Manifest:
        if self.config.sources:
            return self._made_manifest()
        name = self.config.manifest or ""
        if name != "-" and not is_remote(name):
            return open_manifest(name)
        spool = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="asr-batch-")))
        return open_manifest(name, spool / "manifest")

    def _made_manifest(self) -> Manifest:
        """The manifest of audio files, folders and globs, not yet written to the output folder."""
        check_manifest_place(self.root)
        spool = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="asr-batch-"))) / "manifest"
        return open_sources(self.config.sources, self.root, spool)

    def _kept(self, manifest: Manifest) -> Manifest:
        """Keep a copy of a manifest that cannot be read again from its source."""
        made = bool(self.config.sources)
        if manifest.name != STANDARD_INPUT and not manifest.base.remote and not made:
            return manifest
        kept = self.root / (FILE if made else "manifest.kept")
        if not (kept.exists() and kept.samefile(manifest.path)):
            with output_errors(self.root):
                copy_file(manifest.path, kept)
        return Manifest(manifest.name, kept, manifest.base, manifest.format)

    def _work(self, choice: Choice, manifest: Manifest, found: Survey, same: bool) -> int:
        config = self.config
        if choice.warning:
            self.messages.complain(choice.warning)
        if choice.note:
            self.messages.say(choice.note)
        pool = self._pool(choice)
        check_abilities(config, pool.info)
        second = folder_sha256(choose_model(config.second_model).path) if config.second_model else ""
        settings = Settings(settings_base(config, second))
        index = Index.load(self.root, part_names(self.root))
        if self.job is not None:
            SameJob(self.root, config, self.job).check(
                pool.info, settings, index, None if same else manifest, found
            )
        ledger = Ledger(
            self.root, found.extra, part_metadata(pool.info, settings), Limits(rows=config.part_rows)
        )
        for note in ledger.notes:
            log.warning(note)
        with output_errors(self.root):
            write_job(self.root, config, manifest, found, pool.info, settings)
        resume = Resume(ledger.index, pool.info.sha256, settings, self.redo)
        feed = self.feed = Feed(manifest.rows(), resume, looker=self.parts.looker)
        self.stack.callback(feed.close)
        watch = self._watch(found, ledger, pool, choice)
        terms = config.terms()
        maker = RowMaker(pool.info, self.parts.assemble, compare, Terms(terms) if terms else None)
        driver = Driver(
            feed,
            pool,
            self._with_files(ledger, manifest, found),
            maker,
            self.parts.split,
            watch,
            stop=self.stop,
            out_of_time=deadline(config),
            pace=self._pace(),
        )
        log.info("run started", extra={"data": {"rows": found.rows, "in_data_set": watch.totals.rows}})
        return self._drive(driver, watch, found)

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

    def _with_files(self, ledger: Ledger, manifest: Manifest, found: Survey) -> Book:
        """The ledger, wrapped to write the files of `--format` if there are any."""
        forms = formats_of(self.config.format)
        if not forms:
            return ledger
        places = Beside(self.root, manifest.base, manifest.rows()) if self.config.beside_audio else None
        self.files = RowFiles(self.root, forms, places)
        with output_errors(self.root):
            written = self.files.write_missing(open_transcripts(self.root), found.ids)
        if written:
            log.info("files written for rows that lacked them", extra={"data": {"rows": written}})
        return FileBook(ledger, self.files)

    def _pace(self) -> Pace:
        return replace(self.parts.pace, grace=self.config.grace, hang_timeout=self.config.hang_timeout)

    def _watch(self, found: Survey, ledger: Ledger, pool: Pool, choice: Choice) -> Watch:
        index = ledger.index
        before = find_status(self.root) or find_summary(self.root) or Summary()
        totals = Totals.of(index.entries[index.present(found.ids)])
        clock = Clock(before.wall_seconds, before.history, self.begun)
        figures = Figures(
            self.root, self.config, found.rows, totals, clock, pool.info, choice.warning, tuple(pool.nodes())
        )
        figures.decoded_seconds = before.decoded_seconds
        progress = make_progress(self.config.progress, quiet=self.config.quiet, stream=self.messages.stream)
        self.stack.callback(progress.close)
        watch = Watch(figures, progress, lambda position: index.entries[position].copy())
        if self.config.metrics_port is not None:
            from asr_batch.jobs.console.metrics import serve  # as in `_stopped`

            server = serve(self.config.metrics_port, lambda: watch.latest)
            self.stack.callback(server.close)
        return watch

    def _drive(self, driver: Driver, watch: Watch, found: Survey) -> int:
        try:
            ending = driver.run()
        except ConfigError:  # the model could not be loaded: nothing was started
            raise
        except (OutputError, WorkerFatalError):
            self._stopped(watch, "failed", 1, driver.pool)
            raise
        except Exception:
            self._stopped(watch, "unexpected error", 1, driver.pool)
            raise
        stopped_by = self.stop.exit_code if ending == "stopped" else None
        watch.figures.clock.idle = ending == "finished" and not watch.figures.run_rows
        code = exit_code(watch.totals, judge_gates(self.config, watch.totals, found.rows), stopped_by)
        summary = self._stopped(watch, ending, code, driver.pool)
        watch.last(driver, ending)
        self.stack.close()  # remove the bar and close the pool before the final output
        self._last_words(summary, ending, code, found)
        return code

    def _stopped(self, watch: Watch, ending: Ending | str, code: int, pool: Pool) -> Summary:
        """Write summary.json and metrics.prom; on a full disk only the message on stderr."""
        from asr_batch.jobs.console.metrics import render  # prometheus_client is slow to import

        figures, now = watch.figures, time.monotonic()
        figures.nodes = tuple(pool.nodes())
        if figures.run_rows:  # otherwise it may not be loaded
            figures.model = pool.info
        figures.clock.point(now, round(watch.totals.audio_seconds, 3), watch.totals.rows, every=0.0)
        summary = figures.summary(now, code, ending)
        try:
            write_document(self.root / SUMMARY, summary)
            write_document(self.root / STATUS, Status.of(summary), durable=False)
            write_text(self.root / "metrics.prom", render(summary), durable=False)
        except OSError as error:
            log.warning("summary not written: %s", error)
        log.info(
            "run ended", extra={"data": {"ending": ending, "exit_code": code, "rows": plain(summary.rows)}}
        )
        return summary

    def _last_words(self, summary: Summary, ending: Ending, code: int, found: Survey) -> None:
        if not self.parts.last_words:
            return
        quiet_words = self.messages.say if code == 0 else self.messages.complain
        self.messages.table(*shown_rows(self.root, found))
        quiet_words(summary_text(summary, ending, code))
        if self.files is not None:
            self.messages.say(self.files.text())
        if code in (3, 4):
            self.messages.complain(failures_text(summary, self.root))

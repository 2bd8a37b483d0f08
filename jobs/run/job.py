"""A job as a command runs it: from its settings to its exit code, with every error as one sentence."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection
from contextlib import redirect_stdout
from pathlib import Path

from asr_batch.jobs.config.keys import RunConfig
from asr_batch.jobs.console.messages import Messages, real_stderr, tell_result
from asr_batch.jobs.console.signals import StopRequest, stop_signals
from asr_batch.jobs.run.notices import Notices
from asr_batch.jobs.run.session import Parts, Session
from asr_batch.manifests.errors import AsrBatchError
from asr_batch.manifests.reader import Manifest

log = logging.getLogger("asr_batch")


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
        stop.last_words = messages.stopped_at_once
        session = Session(config, messages, frozenset(redo), parts or Parts(), stop)
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
    return Session(config, messages, (), parts, stop).run(manifest)


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

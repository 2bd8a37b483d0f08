"""Notifies other programs of the end of a run: a command, a webhook. Neither changes the exit code."""

from __future__ import annotations

import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from asr_batch.jobs.config.keys import RunConfig
from asr_batch.jobs.console.signals import StopRequest, signals_for_children
from asr_batch.jobs.dataset.summary import SUMMARY
from asr_batch.manifests.environment import for_child

TRIES = 5
FIRST_PAUSE = 1.0
"""Seconds before the second attempt; each later pause is twice as long."""

CONNECT, READ = 10.0, 20.0
LONGEST = 300.0
"""Maximum seconds for which the end of a run waits for its notices."""

STOPPED = 10.0
"""The same after a stop signal."""

Say = Callable[[str], None]


class Notices:
    """Sends summary.json to `--on-finish COMMAND` on standard input, and to `--webhook URL` by POST."""

    def __init__(self, config: RunConfig, say: Say) -> None:
        self._command, self._url, self._say = config.on_finish, config.webhook, say
        self._threads: list[threading.Thread] = []
        self._begun = time.time()

    def send(self, root: Path, code: int) -> None:
        """Start sending in separate threads; does nothing if this run wrote no summary."""
        path = root / SUMMARY
        try:
            if path.stat().st_mtime < self._begun - 2.0:  # clocks of file servers differ slightly
                return
            summary = path.read_bytes()
        except OSError:
            return
        if self._command:
            self._start(self._call, self._command, root, code, summary)
        if self._url:
            self._start(self._post, self._url, summary)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=target, args=arguments, name="notice", daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self, stop: StopRequest) -> None:
        """Wait until all are sent, up to a limit that is short after a stop signal."""
        asked = stop.count
        begun = time.monotonic()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.1)
                longest = STOPPED if asked or stop.count else LONGEST
                if stop.count > max(asked, 1) or time.monotonic() - begun > longest:
                    self._say(
                        f"asr-batch: a notification was abandoned after {time.monotonic() - begun:.0f} s; "
                        "the results are complete"
                    )
                    return

    def _call(self, command: str, root: Path, code: int, summary: bytes) -> None:
        told = for_child(ASR_BATCH_OUT=str(root.absolute()), ASR_BATCH_EXIT_CODE=str(code))
        try:
            with signals_for_children():
                child = subprocess.Popen(
                    ["/bin/sh", "-c", command], stdin=subprocess.PIPE, stdout=2, env=told
                )
            child.communicate(summary)  # a command need not read its input
            if child.returncode:
                self._say(f"asr-batch: --on-finish {shlex.quote(command)} ended with {child.returncode}")
        except OSError as error:
            self._say(f"asr-batch: --on-finish {shlex.quote(command)} could not be started: {error}")

    def _post(self, url: str, summary: bytes) -> None:
        import urllib3  # imported only by jobs with a webhook

        retry = urllib3.Retry(
            total=TRIES - 1,
            backoff_factor=FIRST_PAUSE,
            status_forcelist=(408, 425, 429, 500, 502, 503, 504),
            allowed_methods=None,
            raise_on_status=False,
            redirect=3,
        )
        headers = {"Content-Type": "application/json", "User-Agent": f"asr-batch/{version('asr-batch')}"}
        shown = urllib3.util.parse_url(url).host
        try:
            timeout = urllib3.Timeout(connect=CONNECT, read=READ)
            with urllib3.PoolManager(retries=retry, timeout=timeout) as pool:
                answer = pool.request("POST", url, body=summary, headers=headers)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            why = getattr(error, "reason", None) or error
            self._say(f"asr-batch: the webhook at {shown} could not be reached: {_plain(why, url)}")
            return
        if answer.status >= 300:
            self._say(f"asr-batch: the webhook at {shown} answered {answer.status}")


def _plain(why: object, url: str) -> str:
    """The reason without the address, which may contain a secret."""
    return str(why).replace(url, "it").rpartition(": ")[2]

"""`log.jsonl`: one JSON object a line, rotated so that it never fills a disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

log = logging.getLogger("asr_batch")
log.addHandler(logging.NullHandler())  # without a folder to log to, nothing is printed instead

MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 4


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, message, the fields given as `extra={"data": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {"time": when, "level": record.levelname.lower(), "message": record.getMessage()}
        entry.update(getattr(record, "data", {}))
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class _Quietly(RotatingFileHandler):
    """A log that cannot be written (full disk) never stops the job and never prints."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class's name
        """Say nothing."""


@contextmanager
def log_to(root: Path, *, verbose: bool = False) -> Iterator[logging.Logger]:
    """Write the log of this process to `root`/log.jsonl while the block runs."""
    handler = _Quietly(
        root / "log.jsonl", maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8", delay=True
    )
    handler.setFormatter(JsonLines())
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    log.propagate = False
    try:
        yield log
    finally:
        log.removeHandler(handler)
        with suppress(OSError):  # a full disk takes no last line
            handler.close()

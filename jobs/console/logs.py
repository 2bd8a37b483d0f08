"""`log.jsonl`: one JSON object per line, rotated at a size limit."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

log = logging.getLogger("asr_batch")
log.addHandler(logging.NullHandler())  # print nothing if there is no folder to log to

MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 4


class JsonLines(logging.Formatter):
    """Format a record as one line of JSON: time, level, message, fields of `extra={"data": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {"time": when, "level": record.levelname.lower(), "message": record.getMessage()}
        entry.update(getattr(record, "data", {}))
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class _Quietly(RotatingFileHandler):
    """A handler that never stops the job or prints if the log cannot be written (full disk)."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class's name
        """No-op."""


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
        with suppress(OSError):  # the last line fails on a full disk
            handler.close()

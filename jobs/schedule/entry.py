"""Records of scheduled jobs: planned and installed."""

from __future__ import annotations

import hashlib
import math
import os
import re
import sys
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from typing import Literal

from asr_batch.manifests.errors import ConfigError

Kind = Literal["systemd", "cron"]


@dataclass(frozen=True, slots=True)
class Planned:
    """A job, its time of day and its `--grace` in seconds.

    `name` depends only on the file's path, so installing again replaces it.
    """

    config: str
    at: time
    grace: float = 30.0

    @property
    def name(self) -> str:
        """asr-batch-STEM-HASH: safe as a unit name and in a comment."""
        return job_name(self.config)

    @property
    def command(self) -> tuple[str, ...]:
        """The command line. `-P`: a file in the working directory cannot shadow a module."""
        return (sys.executable, "-P", "-m", "asr_batch.jobs", "run", "--config", self.config, "--quiet")


@dataclass(frozen=True, slots=True)
class Entry:
    """An installed job."""

    name: str
    config: str
    at: str
    kind: Kind


def stopping(grace: float) -> str:
    """The lines of a unit about `systemctl stop`: the job alone hears SIGTERM, drains and ends with 143.

    What is left is killed a minute after its grace. SIGTERM itself ends a job that has not begun.
    """
    return f"SuccessExitStatus=143 SIGTERM\nKillMode=mixed\nTimeoutStopSec={math.ceil(grace) + 60}\n"


def job_name(config: str) -> str:
    """The scheduler's name for a job file."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", Path(config).stem).strip("-").lower()[:40]
    return "-".join(filter(None, ("asr-batch", slug, hashlib.sha256(os.fsencode(config)).hexdigest()[:8])))


def absolute(path: Path) -> str:
    """The absolute path to schedule. Raises ConfigError if a crontab or unit cannot hold it."""
    text = os.path.abspath(path)  # noqa: PTH100 - links stay as they are named
    if not text.isprintable():
        raise ConfigError(f"{text!r} has characters that no scheduler accepts; rename the file or folder")
    return text

"""Scheduled jobs as records: what is planned, what is installed."""

from __future__ import annotations

import hashlib
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
    """A job at a time of day. `name` depends on the file's path only, so that installing again replaces."""

    config: str
    at: time

    @property
    def name(self) -> str:
        """asr-batch-STEM-HASH: safe as a unit name and in a comment."""
        return job_name(self.config)

    @property
    def command(self) -> tuple[str, ...]:
        """The program and its arguments. `-P`: a file in the working folder cannot stand in for a module."""
        return (sys.executable, "-P", "-m", "asr_batch.jobs", "run", "--config", self.config, "--quiet")


@dataclass(frozen=True, slots=True)
class Entry:
    """A job that is installed."""

    name: str
    config: str
    at: str
    kind: Kind


def job_name(config: str) -> str:
    """The name under which a job file is scheduled."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", Path(config).stem).strip("-").lower()[:40]
    return "-".join(filter(None, ("asr-batch", slug, hashlib.sha256(os.fsencode(config)).hexdigest()[:8])))


def absolute(path: Path) -> str:
    """The path as it is scheduled. Raises ConfigError for one that a crontab or unit cannot hold."""
    text = os.path.abspath(path)  # noqa: PTH100 - links stay as they are named
    if not text.isprintable():
        raise ConfigError(f"{text!r} holds characters that no scheduler takes; rename the file or folder")
    return text

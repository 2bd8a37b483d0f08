"""The variables of the environment that asr-batch reads, all of them here and nowhere else.

Settings of a job are options and keys of `job.toml`, never variables. What is left belongs to a machine or a
user: folders by the XDG base directory specification
(https://specifications.freedesktop.org/basedir-spec/latest/), the cache of huggingface_hub, an S3 endpoint.
Libraries read others by themselves; docs/settings.md lists both. `workers.cluster.connection` and
`models.hailo.api` set variables for Ray and HailoRT before they load them.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLES: dict[str, str] = {
    "ASR_BATCH_KERNELS": "the instruction set of the kernels, or `none`; for tests and benchmarks",
    "XDG_CACHE_HOME": "where other programs keep downloaded models; default `~/.cache`",
    "XDG_CONFIG_HOME": "where `schedule` writes systemd units; default `~/.config`",
    "HF_HUB_CACHE": "the cache of huggingface_hub",
    "HUGGINGFACE_HUB_CACHE": "its earlier name",
    "HF_HOME": "the folder that has this cache in `hub`",
    "AWS_ENDPOINT_URL_S3": "the S3 server of `s3://` audio",
    "AWS_ENDPOINT_URL": "the same for all AWS services",
    "AWS_REGION": "the region of `s3://` audio; default: the bucket's",
    "AWS_DEFAULT_REGION": "its earlier name",
}
"""What each variable decides. An empty one counts as not set."""


def read(name: str) -> str | None:
    """The value of one of :data:`VARIABLES`. Raises KeyError for any other name."""
    VARIABLES[name]
    return os.environ.get(name) or None


def cache_folder() -> Path:
    """Where programs of this user keep what they can download again."""
    return Path(read("XDG_CACHE_HOME") or "~/.cache").expanduser()


def config_folder() -> Path:
    """Where programs of this user keep their settings."""
    return Path(read("XDG_CONFIG_HOME") or "~/.config").expanduser()


def hub_cache() -> Path:
    """Where huggingface_hub keeps its files, by its own variables."""
    named = read("HF_HUB_CACHE") or read("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    home = read("HF_HOME")
    return (Path(home).expanduser() if home else cache_folder() / "huggingface") / "hub"


def for_child(**more: str) -> dict[str, str]:
    """The environment of a child process: all that this one has, and `more`."""
    return {**os.environ, **more}

"""The environment variables that asr-batch reads; no other module reads any.

Settings of a job are options and keys of `job.toml`, never variables. The variables here belong to a
machine or a user: folders of the XDG base directory specification
(https://specifications.freedesktop.org/basedir-spec/latest/), the cache of huggingface_hub, an S3
endpoint. Libraries read other variables; docs/settings.md lists both. `workers.cluster.connection` and
`models.hailo.api` set variables for Ray and HailoRT before they load them, :func:`one_blas_thread` one for
numpy, :func:`one_allocator` one for Arrow, :func:`no_telemetry` one for ONNX Runtime.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLES: dict[str, str] = {
    "ASR_BATCH_KERNELS": "the instruction set of the kernels, or `none` for numpy; for tests and benchmarks",
    "XDG_CACHE_HOME": "where other programs keep downloaded models; default `~/.cache`",
    "XDG_CONFIG_HOME": "where `schedule` writes systemd units; default `~/.config`",
    "HF_HUB_CACHE": "the cache of huggingface_hub",
    "HUGGINGFACE_HUB_CACHE": "earlier name of `HF_HUB_CACHE`",
    "HF_HOME": "the folder with this cache in its subfolder `hub`",
    "AWS_ENDPOINT_URL_S3": "the S3 server of `s3://` audio",
    "AWS_ENDPOINT_URL": "the same for all AWS services",
    "AWS_REGION": "the region of `s3://` audio; default: the bucket's",
    "AWS_DEFAULT_REGION": "earlier name of `AWS_REGION`",
}
"""Meaning of each variable. An empty variable counts as not set."""


def read(name: str) -> str | None:
    """The value of one of :data:`VARIABLES`. Raises KeyError for any other name."""
    VARIABLES[name]
    return os.environ.get(name) or None


def cache_folder() -> Path:
    """The user's folder for caches (XDG)."""
    return Path(read("XDG_CACHE_HOME") or "~/.cache").expanduser()


def config_folder() -> Path:
    """The user's folder for settings (XDG)."""
    return Path(read("XDG_CONFIG_HOME") or "~/.config").expanduser()


def hub_cache() -> Path:
    """The cache folder of huggingface_hub, from its own variables."""
    named = read("HF_HUB_CACHE") or read("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    home = read("HF_HOME")
    return (Path(home).expanduser() if home else cache_folder() / "huggingface") / "hub"


def one_blas_thread() -> None:
    """Keep numpy's OpenBLAS, here and in child processes, from starting threads: they spin beside a decoder
    that has its own. Call it before numpy is loaded; a value that the user has set stays.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def one_allocator() -> None:
    """Let Arrow use malloc: its own allocator holds 6 MB for the few rows of a part. Call it before Arrow is
    loaded; a value that the user has set stays.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def no_telemetry() -> None:
    """Keep ONNX Runtime, here and in child processes, from reporting its use: since 1.32 it keeps a database
    in the user's cache and sends it to its maker. Call it before it is loaded; a value of the user's stays.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def for_child(**more: str) -> dict[str, str]:
    """The environment for a child process: that of this process, with `more`."""
    return {**os.environ, **more}

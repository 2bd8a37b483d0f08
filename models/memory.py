"""Memory that this process may still allocate, of the machine and its control groups; options of malloc."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

UNKNOWN = 1 << 60
"""Bytes if the system does not report them."""


def free_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that may be allocated now, by MemAvailable and the limits of control groups (version 2)."""
    return min(_machine(proc / "meminfo"), *map(_group, _own_groups(proc / "self" / "cgroup", groups)))


def _machine(meminfo: Path) -> int:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return UNKNOWN


def _own_groups(own: Path, groups: Path) -> Iterator[Path]:
    """The folders of this process's control group and its parents; in a container the root is its own."""
    yield groups
    try:
        line = next(line for line in own.read_text("utf-8").splitlines() if line.startswith("0::/"))
    except (OSError, StopIteration, UnicodeDecodeError):
        return
    folder = groups
    for name in line.removeprefix("0::/").split("/"):
        if name and name != "..":
            folder = folder / name
            yield folder


def _group(folder: Path) -> int:
    """Room below a group's limit; its reclaimable file pages count as free."""
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        if limit == "max":
            return UNKNOWN
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        stat = dict(line.split() for line in lines)
        return int(limit) - used + int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))
    except (OSError, ValueError):
        return UNKNOWN


ONE_ARENA = (-8, 1)
"""M_ARENA_MAX of malloc.h: all threads share what others have freed. Of glibc only."""


def set_malloc(*options: tuple[int, int]) -> None:
    """Set options of glibc's malloc; does nothing with another C library."""
    mallopt = _of_libc("mallopt")
    for option, value in options if mallopt else ():
        mallopt(option, value)


def give_back() -> None:
    """Return freed memory that glibc's malloc keeps to the system; does nothing with another C library."""
    trim = _of_libc("malloc_trim")
    if trim:
        trim(0)


def _of_libc(name: str) -> Any:
    import ctypes  # 3 ms, which commands that set nothing need not wait for

    return getattr(ctypes.CDLL(None), name, None)

"""Moves memory to huge pages: a decoder step reads tens of megabytes, and looking up small pages took a
virtual machine 5 % of all its processor time (docs/performance.md).

Weights packed by ONNX Runtime are allocated on 4 KB pages. Linux moves existing memory to huge pages on
request: `madvise(MADV_COLLAPSE)`, since 6.1.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")
_COLLAPSE = 25  # MADV_COLLAPSE of linux/mman.h, the same on every architecture that has huge pages here
_FILLED = 0.95  # minimum share of a region that is resident: the rest would be filled with zeros
_REGION = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[(?:heap|anon[:_].*)\])?$")


def collapse() -> int:
    """Move this process's large regions to huge pages; returns the bytes now on them.

    0 if the system has no huge pages, disables them, or has an older kernel.
    """
    size = _page_size()
    if not size:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    try:
        with Path("/proc/self/smaps").open(encoding="ascii", errors="replace") as lines:
            pieces = list(whole_pages(lines, size))
    except OSError:
        return 0
    return sum(end - start for start, end in pieces if not libc.madvise(start, end - start, _COLLAPSE))


def _page_size() -> int:
    """Bytes of a huge page; 0 if there are none."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        if "[never]" in (_SETTINGS / "enabled").read_text():
            return 0
        return int((_SETTINGS / "hpage_pmd_size").read_text())
    except (OSError, ValueError):
        return 0


def whole_pages(smaps: Iterable[str], size: int) -> Iterator[tuple[int, int]]:
    """Start and end of the whole pages of `size` bytes in each resident, private, anonymous region.

    Reads the lines of /proc/PID/smaps.
    """
    start = end = 0
    for line in smaps:
        if line.startswith("Rss:"):
            filled = int(line.split()[1]) * 1024 >= _FILLED * (end - start)
            first, last = -(-start // size) * size, end // size * size
            if filled and last > first:
                yield first, last
        elif line[0] in "0123456789abcdef":
            found = _REGION.match(line.rstrip())
            start, end = (int(found[1], 16), int(found[2], 16)) if found else (0, 0)

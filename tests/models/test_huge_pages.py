"""Which regions go to huge pages, and that what lies in them stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asr_batch.models import huge_pages

SIZE = 2 << 20


def region(start: int, end: int, kind: str, resident: int, name: str = "") -> list[str]:
    head = f"{start:x}-{end:x} {kind} 00000000 00:00 0 {name}\n"
    return [head, f"Size: {(end - start) >> 10} kB\n", f"Rss:      {resident >> 10} kB\n", "VmFlags: rd wr\n"]


def test_whole_pages_of_filled_private_memory() -> None:
    lines = [
        *region(SIZE + 4096, 4 * SIZE + 4096, "rw-p", 3 * SIZE),
        *region(8 * SIZE, 12 * SIZE, "rw-p", 4 * SIZE, "[heap]"),
    ]
    assert list(huge_pages.whole_pages(lines, SIZE)) == [(2 * SIZE, 4 * SIZE), (8 * SIZE, 12 * SIZE)]


def test_regions_left_alone() -> None:
    file = region(8 * SIZE, 12 * SIZE, "rw-p", 4 * SIZE)
    file[0] = f"{8 * SIZE:x}-{12 * SIZE:x} rw-p 00001000 fe:00 260386     /some/library.so\n"
    lines = [
        *region(0, 4 * SIZE, "rw-p", SIZE),  # a thread's stack: mostly not in memory
        *file,
        *region(16 * SIZE, 20 * SIZE, "r--p", 4 * SIZE),
        *region(24 * SIZE, 28 * SIZE, "rw-s", 4 * SIZE),
        *region(32 * SIZE, 36 * SIZE, "rw-p", 4 * SIZE, "[stack]"),
        *region(40 * SIZE + 4096, 41 * SIZE + 8192, "rw-p", SIZE + 4096),  # no whole page inside
    ]
    assert list(huge_pages.whole_pages(lines, SIZE)) == []


def test_content_stays() -> None:
    numbers = np.arange(4 << 20, dtype=np.int32)
    huge_pages.collapse()
    assert (numbers == np.arange(4 << 20, dtype=np.int32)).all()


def test_refused_where_the_system_wants_no_huge_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "enabled").write_text("always madvise [never]\n")
    (tmp_path / "hpage_pmd_size").write_text(f"{SIZE}\n")
    monkeypatch.setattr(huge_pages, "_SETTINGS", tmp_path)
    assert huge_pages.collapse() == 0
    monkeypatch.setattr(huge_pages, "_SETTINGS", tmp_path / "missing")
    assert huge_pages.collapse() == 0

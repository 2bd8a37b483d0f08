from __future__ import annotations

import pytest

from asr_batch.models.memory import UNKNOWN, free_memory

GIB = 1 << 30


@pytest.fixture
def system(tmp_path):
    """A machine with 8 GiB free; returns its `/proc` and `/sys/fs/cgroup`."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {8 * GIB // 1024} kB\n")
    (proc / "self" / "cgroup").write_text("0::/user.slice/job.service\n")
    groups.mkdir()
    return proc, groups


def limit(folder, most, used, reclaimable=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {reclaimable}\n")


def test_without_limits_it_is_what_the_machine_has(system):
    assert free_memory(*system) == 8 * GIB


def test_the_tightest_group_counts(system):
    limit(system[1] / "user.slice", 4 * GIB, 1 * GIB)
    limit(system[1] / "user.slice" / "job.service", "max", 0)
    assert free_memory(*system) == 3 * GIB


def test_a_container_sees_its_group_at_the_root(system):
    (system[0] / "self" / "cgroup").write_text("0::/\n")
    limit(system[1], 2 * GIB, 1 * GIB, reclaimable=GIB // 2)
    assert free_memory(*system) == 3 * GIB // 2


def test_nothing_is_known_on_another_system(tmp_path):
    assert free_memory(tmp_path, tmp_path) == UNKNOWN

"""The time that a row may go without progress before its worker is replaced."""

from __future__ import annotations

import pytest

from asr_batch.jobs.dataset.facts import FileFacts
from asr_batch.jobs.run.driver.feed import Task
from asr_batch.jobs.run.driver.rows import units_of
from asr_batch.manifests.records import AudioItem, Unit
from asr_batch.pipeline.audio.reader import AudioInfo


def deadline(size, seconds, seekable, start=None, end=None, hang_timeout=120.0):
    item = AudioItem("a", "a.mp3", "/a.mp3", start=start, end=end)
    info = AudioInfo(seconds, 44100, 2, "mp3", seekable) if seconds is not None else None
    task = Task(item, "", FileFacts(size=size, info=info))
    (unit,) = units_of(task, lambda item, info: [Unit(item, end=end)], hang_timeout)
    return unit.deadline


@pytest.mark.parametrize("seekable", [True, False])
def test_a_file_has_thirty_times_its_length_whatever_its_size(seekable):
    assert deadline(57_600_000, 3600.0, seekable) == pytest.approx(120 + 30 * 3600)


def test_an_hour_of_unknown_length_does_not_block_its_worker_for_days():
    assert deadline(57_600_000, 0.0, False) == deadline(57_600_000, None, False) < 6 * 3600


def test_a_small_file_of_unknown_length_has_the_time_of_slow_speech():
    assert deadline(20_000, 0.0, False) == pytest.approx(120 + 30 * 10)


def test_a_part_of_a_file_is_reached_by_reading_unless_the_file_seeks():
    assert deadline(57_600_000, 3600.0, False, 1800.0, 1810.0) == pytest.approx(120 + 30 * 1810)
    assert deadline(57_600_000, 3600.0, True, 1800.0, 1810.0) == pytest.approx(120 + 30 * 10)


@pytest.mark.parametrize("sha256", ["", "00"])
def test_a_worker_hashes_what_nobody_has_hashed(sha256):
    item = AudioItem("a", "a.mp3", "/a.mp3")
    task = Task(item, "", FileFacts(sha256=sha256))
    assert [unit.hashed for unit in units_of(task, lambda *_: [Unit(item)], 0.0)] == [bool(sha256)]

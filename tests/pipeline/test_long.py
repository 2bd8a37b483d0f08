"""Long recordings, many short ones, hard joins, a missing detector: nothing lost unsaid, memory flat."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import RATE, FakeRecognizer, check_tiling, joined, row

from asr_batch.models.recognizer import Recognizer, WindowRequest, WindowResult
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.text.words import normal_words

Clips = list[tuple[str, np.ndarray]]
Save = Callable[..., Path]


@pytest.mark.parametrize("gap", [0.0, 0.04])
def test_hard_joins_lose_no_clip_unsaid(nano: Recognizer, save: Save, clips: Clips, gap: float) -> None:
    chosen = [clips[i] for i in (0, 5, 3, 6, 1, 9, 4, 7, 2, 8)]
    transcript = row(save(joined(chosen, gap)), nano)
    check_tiling(transcript, 0.0, transcript.duration)
    words = set(normal_words(transcript.text))
    at = 0.0
    for text, clip in chosen:
        end = at + len(clip) / RATE
        told = any(a < end and b > at for a, b in transcript.uncovered)
        said = [word in words for word in normal_words(text)]
        assert told or sum(said) >= len(said) / 2, text
        at = end + gap


def test_a_window_that_says_far_less_than_the_others_is_uncovered(save: Save, clips: Clips) -> None:
    """Nothing in it fails a guard, and no budget is left to hear it again."""
    calls: list[WindowRequest] = []

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        calls.append(request)
        words = result.text.split()
        return replace(result, text=" ".join(words[: len(words) // 2])) if len(calls) == 5 else result

    path = save(joined(clips * 4, 0.3))
    transcript = row(path, FakeRecognizer(speak, batch=1), PipelineOptions(repair_budget=0.0))
    assert [window.index for window in transcript.windows if "uncovered" in window.flags] == [4]
    assert transcript.status == "partial"
    assert transcript.coverage < 1
    assert row(path, FakeRecognizer(), PipelineOptions(repair_budget=0.0)).status == "ok"


@pytest.mark.slow
def test_an_hour_of_a_sine_is_empty(save: Save) -> None:
    second = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)
    recognizer = FakeRecognizer()
    transcript = row(save(np.tile(second, 3600)), recognizer)
    assert (transcript.status, transcript.text, transcript.coverage) == ("empty", "", 1.0)
    assert not recognizer.requests
    check_tiling(transcript, 0.0, 3600.0)


MEMORY = """
import sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
from pipeline_lab import FakeRecognizer, row, run_units
from asr_batch.manifests.records import AudioItem, Unit
from asr_batch.models.recognizer import WindowResult
from asr_batch.pipeline.options import PipelineOptions

class Cheap(FakeRecognizer):
    def _answer(self, request):
        self.requests.clear()
        text = " ".join("word" + str(i) for i in range(len(request.samples) // 6400))
        return WindowResult(request.key, text, (1,), -0.1, 0.0, 0.0)

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

def some(path, count):
    run_units([(Unit(AudioItem(str(i), "a", str(path)), seconds=3.0), path) for i in range(count)], Cheap(),
              PipelineOptions())

path, count = Path(sys.argv[1]), int(sys.argv[2])
short = path.with_name("short.wav")
some(short, 100)
before = peak()
for _ in range(count // 100):
    some(short, 100)
if not count:
    row(path, Cheap())
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.timeout(500)  # three hours of MP3 on a busy machine
@pytest.mark.parametrize(
    ("name", "count", "most"), [("long.wav", 0, 60), ("long.mp3", 0, 90), ("short.wav", 5000, 30)]
)
def test_memory_does_not_grow_with_the_audio(
    tmp_path: Path, clips: Clips, name: str, count: int, most: float
) -> None:
    """Three hours in one file, and 5,000 files of 3 s: growth of the peak, in MB."""
    import soundfile

    soundfile.write(tmp_path / "short.wav", clips[3][1], RATE)
    if not count:
        piece = joined(clips, 0.4)
        with soundfile.SoundFile(tmp_path / name, "w", RATE, 1) as sound:
            for _ in range(round(3 * 3600 * RATE / len(piece))):
                sound.write(piece)
    helpers = str(Path(__file__).parent.parent / "helpers")
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY.format(helpers=helpers), str(tmp_path / name), str(count)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(ran.stdout) < most

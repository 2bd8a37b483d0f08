"""Data sets on disk, made without the driver."""

from __future__ import annotations

import json
import math
import struct
import wave
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asr_batch.jobs.dataset.schema import TRANSCRIPTS, WINDOWS


def segment(start, end, text, channel=-1, **more):
    numbers = {"avg_logprob": -0.2, "no_speech_prob": 0.01, "compression_ratio": 1.2, "temperature": 0.0}
    return {"start": start, "end": end, "text": text, "channel": channel, "flags": [], **numbers, **more}


def row(row_id, text="Hello there.", status="ok", **more):
    """A transcript row with sensible values for what is not given."""
    duration = more.get("duration", 4.0)
    made = {
        "id": row_id,
        "audio": f"{row_id}.wav",
        "status": status,
        "text": text,
        "segments": [segment(0.0, duration, text)] if text else [],
        "language": "en",
        "duration": duration,
        "speech": duration if text else 0.0,
        "coverage": 1.0,
        "uncovered": [],
        "encoder_backend": "cpu",
        "node": "n1",
        "attempts": 1,
        "decode_seconds": duration / 10,
        "finished_at": datetime(2026, 11, 21, 2, 0, tzinfo=UTC),
    }
    if status == "failed":
        made |= {"text": None, "segments": None, "language": None, "error_code": "not_found"}
        made |= {"error_message": "the file does not exist"}
    return made | more


def window(row_id, index=0, start=0.0, end=4.0, text="Hello there.", **more):
    made = {
        "id": row_id,
        "index": index,
        "start": start,
        "end": end,
        "keep_start": start,
        "keep_end": end,
        "cut": "end",
        "text": text,
        "tokens": [1, 2],
        "avg_logprob": -0.3,
        "no_speech_prob": 0.02,
        "compression_ratio": 1.1,
        "temperature": 0.0,
        "speech": end - start,
        "words_per_second": 2.0,
        "flags": [],
        "encoder_backend": "cpu",
        "node": "n1",
        "batch": 1,
    }
    return made | more


def write(folder: Path, rows, windows=(), summary=None, job=None, parts=1) -> Path:
    """A data set on disk, in `parts` part files."""
    for name, schema, lines in (("transcripts", TRANSCRIPTS, rows), ("windows", WINDOWS, list(windows))):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for part in range(parts):
            table = pa.Table.from_pylist(lines[part::parts], schema=schema)
            pq.write_table(table, folder / name / f"part-{part:05}.parquet", compression="zstd")
    (folder / "summary.json").write_text(json.dumps(summary if summary is not None else make_summary(rows)))
    (folder / "job.json").write_text(
        json.dumps(job or {"manifest": {"path": str(folder.parent / "manifest.csv")}})
    )
    return folder


def make_summary(rows, **more):
    statuses = [r["status"] for r in rows]
    started = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
    audio = sum(r["duration"] for r in rows)
    counts = {name: statuses.count(name) for name in ("ok", "empty", "partial", "failed")}
    codes = [r["error_code"] for r in rows if r.get("error_code")]
    made = {
        "version": "0.1.0",
        "dataset": "out",
        "started_at": started.isoformat(),
        "finished_at": (started + timedelta(seconds=60)).isoformat(),
        "rows": {"total": len(rows), **counts, "pending": 0},
        "errors": {code: codes.count(code) for code in set(codes)},
        "audio_seconds": audio,
        "speech_seconds": audio * 0.8,
        "decoded_seconds": audio,
        "wall_seconds": 60.0,
        "rtfx": audio / 60.0,
        "coverage": 0.99,
        "gates": [{"name": "min-coverage", "limit": 0.9, "value": 0.99, "held": True}],
        "nodes": [
            {
                "node": "n1",
                "address": "127.0.0.1",
                "alive": True,
                "workers": 2,
                "encoder_backend": "cpu",
                "audio_seconds": audio,
                "decode_seconds": 30.0,
                "occupancy": 0.9,
                "note": "",
                "temperature": None,
            }
        ],
        "model": {"name": "nano.en", "family": "whisper", "sha256": "ab" * 32, "precision": "int8"},
        "occupancy": 0.9,
        "exit_code": 0,
        "history": [{"t": t, "audio_seconds": audio * t / 60, "rows": t} for t in range(0, 61, 10)],
    }
    return made | more


def tone(path: Path, seconds: float, hertz: float = 440.0) -> Path:
    """A mono 16 kHz WAV file of a sine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = [round(9000 * math.sin(2 * math.pi * hertz * n / 16000)) for n in range(round(seconds * 16000))]
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return path


class Make:
    """What the tests build data sets from."""

    row = staticmethod(row)
    window = staticmethod(window)
    segment = staticmethod(segment)
    summary = staticmethod(make_summary)
    dataset = staticmethod(write)
    tone = staticmethod(tone)


@pytest.fixture
def make() -> type[Make]:
    return Make

"""Recordings as people have them, made from one recording of speech, through `asr-batch run`.

    python -m bench.recordings --speech SPEECH.wav --text TEXT.txt --model BUNDLE
        [--ct2 FOLDER --peer PYTHON] [--keep FOLDER] [--only a,b] > docs/recordings.md

Needs the commands `ffmpeg` and `sox`. Every file is a row of one job, beside a good one. PYTHON has
faster-whisper, which hears the same files with the same weights. *onsets*: where speech begins behind a
pause of the recording, the first word's time against the waveform.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import soundfile

from asr_batch.jobs.quality import normaliser
from bench.inputs import an_existing_file, an_existing_folder
from bench.speech.measures import edits
from bench.speech.recordings import CASES, TROUBLES, Case, made

_PEER = """
import json, sys
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=2)
for path in sys.argv[2:]:
    try:
        parts, _ = model.transcribe(path, beam_size=1, language="en")
        print(json.dumps([path, " ".join(part.text.strip() for part in parts)]), flush=True)
    except Exception as error:
        print(json.dumps([path, None]), flush=True)
"""
_HEAD = """# Recordings as people have them

How `asr-batch run` copes with broken, odd and rare files. `python -m bench.recordings` made each file from
one recording of speech ({seconds:.1f} s, {words} words) with ffmpeg and sox. All are rows of one job.

* *Word errors* are those of the whole text, also for files that lack a part of it.
* *Onsets* is the time between the start of speech after a pause in the waveform and the start of its first
  word: the median and the largest one. Late files and gaps are counted in.
* *faster-whisper* is its word error rate for the same file with the same weights, {model} in int8.

| trouble | file | status | word errors | onsets | message or note | faster-whisper |
|---|---|---|---|---|---|---|
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the page; 1 where a row is not as its case wants it."""
    args = _arguments(argv)
    text = " ".join(args.text.read_text().split())
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        chosen = [case for case in CASES if not args.only or case.name in args.only.split(",")]
        files = {case: made(case, args.speech, folder) for case in chosen}
        rows = _run(files, args.model, folder)
        heard = _peer(args, list(files.values()))
    samples, rate = soundfile.read(args.speech, dtype="float32")
    seconds = len(samples) / rate
    print(_HEAD.format(seconds=seconds, words=len(text.split()), model=args.model.name), end="")
    starts, failed = onsets(samples, rate), []
    for case, path in files.items():
        row = rows[path.name]
        line, good = _judged(case, row, text, case.times(starts, seconds), heard.get(path.name, ""))
        print(f"| {TROUBLES[case.line]} | {path.name} {line}", flush=True)
        if not good:
            failed.append(path.name)
    print(f"\n{len(files) - len(failed)} of {len(files)} rows are as they should be.")
    print(*(f"not so: {name}" for name in failed), sep="\n", file=sys.stderr)
    return 1 if failed else 0


def _judged(case: Case, row: dict[str, Any], text: str, starts: list[float], peer: str | None) -> Any:
    """The cells of a row, and whether it is as it should be."""
    plain = normaliser("en")
    expected = plain(" ".join([text] * case.said))
    found = edits(expected, plain(row["text"] or ""))
    beside = "fails" if peer is None else peer and f"{100 * edits(expected, plain(peer)).wer:.1f} %"
    words = [word["start"] for word in row["words"] or ()]
    off = [min((abs(start - word) for word in words), default=99.0) for start in starts]
    times = f"{np.median(off):.2f} / {max(off):.2f} s" if off else ""
    told = row["error_message"] or "; ".join(row["notes"] or ())
    good = row["status"] == case.status
    if case.status == "ok":
        limit = max(0.1, edits(expected, plain(peer or "")).wer + 0.05 if peer else 0)
        good = good and found.wer <= limit and (not off or float(np.median(off)) < 0.5)
    return f"| {row['status']} | {100 * found.wer:.1f} % | {times} | {told} | {beside} |", good


def onsets(samples: np.ndarray, rate: int) -> list[float]:
    """Seconds at which speech begins behind a pause of 0.35 s."""
    step = rate // 100
    parts = samples[: len(samples) // step * step].reshape(-1, step)
    loud = 10 * np.log10(np.square(parts).mean(axis=1) + 1e-12) > -45
    places = np.flatnonzero(loud)
    return [int(at) / 100 for at, before in zip(places[1:], places[:-1], strict=True) if at - before > 35]


def _run(files: dict[Case, Path], model: Path, folder: Path) -> dict[str, dict[str, Any]]:
    manifest, out = folder / "rows.csv", folder / "out"
    with manifest.open("w", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerow(["id", "audio", "language", "track"])
        lines.writerows([path.name, path.name, case.language, case.track] for case, path in files.items())
    shutil.rmtree(out, ignore_errors=True)
    command = [Path(sys.executable).with_name("asr-batch"), "run", manifest, "--out", out]
    command += ["--model", model, "--word-timestamps"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise SystemExit(done.stderr)
    rows: list[dict[str, Any]] = pq.read_table(out / "transcripts").to_pylist()
    return {row["id"]: row for row in rows}


def _peer(args: argparse.Namespace, paths: list[Path]) -> dict[str, str | None]:
    """faster-whisper's text of each file (None: it fails), kept beside the files."""
    kept = paths[0].parent / "peer.json"
    known: dict[str, str | None] = json.loads(kept.read_text()) if kept.exists() else {}
    missing = [str(path) for path in paths if path.name not in known and os.access(path, os.R_OK)]
    if args.ct2 and missing:
        command = [args.peer, "-c", _PEER, args.ct2, *missing]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            path, text = json.loads(line)
            known[Path(path).name] = text
        kept.write_text(json.dumps(known))
    return known


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--speech", type=an_existing_file, required=True, help="WAV at 16 kHz, one channel")
    parser.add_argument("--text", type=an_existing_file, required=True, help="what is said in it")
    parser.add_argument("--model", type=an_existing_folder, required=True)
    parser.add_argument("--ct2", type=an_existing_folder, help="the same weights for CTranslate2")
    parser.add_argument("--peer", default=sys.executable, help="a Python that has faster-whisper")
    parser.add_argument("--keep", type=Path, help="folder for the files")
    parser.add_argument("--only", help="names of cases, with commas")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())

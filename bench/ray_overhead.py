"""Measures the overhead of Ray: simulated workers, and a real job with and without Ray.

python bench/ray_overhead.py scale --workers 64 --files 20000 python bench/ray_overhead.py job MANIFEST
--model FOLDER --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(HERE.parent / "tests" / "workers"), os.environ.get("PYTHONPATH", "")]
)


def scale(workers: int, files: int) -> None:
    """Files per second that one driver handles, with workers that finish a file immediately."""
    from asr_batch.manifests.records import AudioItem, Unit
    from asr_batch.workers.cluster.pool import start
    from asr_batch.workers.pool import UnitDone, WorkerSpec

    with tempfile.TemporaryDirectory() as model:
        begun = time.monotonic()
        pool = start(WorkerSpec(model), workers=workers, maker="simulated:SimulatedWorker")
        while pool.nodes()[0].workers < workers or len(pool._actors.ready()) < workers:
            pool.wait(0.1)
        started = time.monotonic()
        cpu = time.process_time()
        sent = done = 0
        while done < files:
            for _ in range(min(pool.room(), files - sent)):
                item = AudioItem(f"f{sent}", f"f{sent}.wav", f"/nowhere/f{sent}.wav")
                pool.submit(Unit(item, end=5.0, seconds=5.0, deadline=600.0))
                sent += 1
            done += sum(isinstance(event, UnitDone) for event in pool.wait(1.0))
        wall, cpu = time.monotonic() - started, time.process_time() - cpu
        pool.close()
    result = {
        "workers": workers,
        "files": files,
        "start_seconds": round(started - begun, 1),
        "files_per_second": round(files / wall),
        "driver_cpu_ms_per_file": round(1000 * cpu / files, 3),
    }
    print(json.dumps(result))


def job(manifest: str, model: str, rounds: int) -> None:
    """Interleaved runs of one job, each from `run started` to `run ended` in its `log.jsonl`."""
    walls: dict[str, list[float]] = {"--no-ray": [], "": []}
    for _ in range(rounds):
        for option, taken in walls.items():
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "asr_batch.jobs", "run", manifest, "--model", model]
                words = ["--out", f"{folder}/out", "--progress", "none", "--workers", "1"]
                command += [*words, *filter(None, [option])]
                done = subprocess.run(command, check=False, capture_output=True, text=True)
                if done.returncode not in (0, 3):
                    raise SystemExit(done.stderr.strip())
                lines = map(json.loads, Path(folder, "out", "log.jsonl").read_text().splitlines())
                at = {line["message"]: datetime.fromisoformat(line["time"]) for line in lines}
                taken.append((at["run ended"] - at["run started"]).total_seconds())
    best = {name or "ray": min(taken) for name, taken in walls.items()}
    print(json.dumps({"seconds": best, "ray_over_no_ray": round(best["ray"] / best["--no-ray"], 3)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    scaling = commands.add_parser("scale")
    scaling.add_argument("--workers", type=int, default=64)
    scaling.add_argument("--files", type=int, default=20_000)
    jobs = commands.add_parser("job")
    jobs.add_argument("manifest")
    jobs.add_argument("--model", required=True)
    jobs.add_argument("--rounds", type=int, default=3)
    given = vars(parser.parse_args())
    {"scale": scale, "job": job}[given.pop("command")](**given)

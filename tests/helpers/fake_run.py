"""`python fake_run.py MANIFEST OUT`: a run over the fake pool in a process of its own, to be killed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import fake_pool

from asr_batch.jobs.config.build import build_config
from asr_batch.jobs.dataset.facts import look_at
from asr_batch.jobs.model_choice import Choice
from asr_batch.jobs.run import job, session
from asr_batch.jobs.run.driver.commits import Pace


def main() -> int:
    pause = float(sys.argv[3]) if len(sys.argv) > 3 else 0.005
    session.choose_model = lambda _, say: Choice(Path("/fake"), None)
    parts = session.Parts(
        start_pool=lambda *_: fake_pool.FakePool(2, 2, on_wait=lambda _: time.sleep(pause)),
        assemble=fake_pool.assemble,
        split=fake_pool.split,
        looker=lambda location: look_at(location, prober=lambda _: None),
        pace=Pace(wait=0.01, commit_every=0.0, commit_share=1.0),
    )
    options = {"manifest": sys.argv[1], "out": sys.argv[2], "part_rows": 20, "quiet": True}
    print("started", flush=True)
    return job.run_job(build_config(options), parts=parts)


if __name__ == "__main__":
    sys.exit(main())

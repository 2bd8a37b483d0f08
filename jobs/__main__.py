"""Entry point: `python -m asr_batch.jobs` runs the command `asr-batch`."""

from __future__ import annotations

from asr_batch.jobs.cli.main import main

if __name__ == "__main__":
    main()

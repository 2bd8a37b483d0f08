"""`asr-batch bench`: measure this machine."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = (
    "\b\nExamples:\n  asr-batch bench\n"
    "  asr-batch bench --npu --model whisper-tiny-10s --model-30s whisper-tiny-30s --manifest test.csv"
)


@click.command(epilog=EPILOG)
@click.option("--model", "model_name", metavar="NAME|PATH", help="Model (default: as `run`).")
@click.option(
    "--model-30s", "long", type=click.Path(path_type=Path, exists=True), help="The same with 30 s windows."
)
@click.option("--manifest", metavar="FILE", help="Audio, with references for WER (default: a packaged clip).")
@click.option("--rows", type=click.IntRange(1, 1000), default=24, show_default=True, help="Rows at most.")
@click.option("--npu", is_flag=True, help="Compare CPU, hybrid and full NPU, with the seed's table beside.")
def bench(model_name: str | None, long: Path | None, manifest: str | None, rows: int, npu: bool) -> None:
    """Measure encoder, decoder and whole windows one after the other, then with all slots full."""
    from asr_batch.jobs.bench.npu import clips_of, measure_all, measure_cpu, npu_table, on_a_double, table
    from asr_batch.jobs.bench.throughput import throughput
    from asr_batch.jobs.model_choice import choose_model

    folder = choose_model(model_name).path
    clips = clips_of(manifest, rows)
    if npu:
        click.echo(npu_table(measure_all(folder, clips, long), on_a_double()))
    else:
        click.echo(table(measure_cpu(folder, clips, long)))
        click.echo(str(throughput(folder, [clip.samples for clip in clips])))

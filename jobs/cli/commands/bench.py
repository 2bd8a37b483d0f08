"""`asr-batch bench`: measure this machine."""

from __future__ import annotations

import click

EPILOG = (
    "\b\nExamples:\n  asr-batch bench\n  asr-batch bench --npu --model whisper-tiny-10s --manifest test.csv"
)


@click.command(epilog=EPILOG)
@click.option("--model", "model_name", metavar="NAME|PATH", help="Model (default: as for `run`).")
@click.option(
    "--manifest", metavar="FILE", help="Audio to decode; `text` gives WER (default: a packaged clip)."
)
@click.option(
    "--rows", type=click.IntRange(1, 1000), default=24, show_default=True, help="Rows of the manifest to use."
)
@click.option("--npu", is_flag=True, help="Also measure the encoder, and encoder and decoder, on the NPU.")
def bench(model_name: str | None, manifest: str | None, rows: int, npu: bool) -> None:
    """Measure the speed of this machine.

    First decodes windows one at a time and shows encoder, decoder and total time, once with every window
    padded to 30 s and once without padding. Then measures throughput with all decoder slots full.
    """
    from asr_batch.jobs.bench.latency import clips_of, measure_all, on_a_double, table
    from asr_batch.jobs.bench.throughput import throughput
    from asr_batch.jobs.model_choice import choose_model

    folder = choose_model(model_name).path
    clips = clips_of(manifest, rows)
    click.echo(table(measure_all(folder, clips, npu=npu), double=npu and on_a_double()))
    click.echo(str(throughput(folder, [clip.samples for clip in clips])))

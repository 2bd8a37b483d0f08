"""`asr-batch schedule`: nightly runs with systemd or cron."""

from __future__ import annotations

from pathlib import Path

import click

from asr_batch.manifests.errors import ConfigError

EPILOG = """\b
Example:
  asr-batch schedule install job.toml --at "02:00"
"""


@click.group(epilog=EPILOG)
def schedule() -> None:
    """Run a job every day, or keep watching a folder.

    Uses a systemd user timer if systemd is available, else your crontab. Two runs never overlap: the second
    ends with code 5.
    """


@schedule.command(epilog=EPILOG)
@click.argument("job", metavar="job.toml", type=click.Path(path_type=Path))
@click.option("--at", required=True, metavar="HH:MM", help="Local time of day.")
@click.option(
    "--scheduler",
    type=click.Choice(["auto", "systemd", "cron"]),
    default="auto",
    show_default=True,
    help="Scheduler to use.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be written, write nothing.")
def install(job: Path, at: str, scheduler: str, dry_run: bool) -> None:
    """Run job.toml every day at a given time.

    Prints what it wrote. Install again to change the time.
    """
    from asr_batch.jobs.schedule import jobs

    planned = jobs.plan(job, at)
    chosen = jobs.choose(scheduler)
    if not dry_run:
        jobs.install(planned, chosen)
    click.echo(chosen.preview(planned), nl=False)
    if chosen.kind == "systemd":
        hint_lingering()


@schedule.command(epilog="\b\nExample:\n  asr-batch schedule watch job.toml")
@click.argument("job", metavar="job.toml", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Print what would be written, write nothing.")
def watch(job: Path, dry_run: bool) -> None:
    """Run `asr-batch watch` for job.toml as a systemd service.

    job.toml names the folder: sources = ["incoming"]. The service starts immediately and at boot, and
    restarts after a crash. Prints what it wrote. `schedule remove` removes it.
    """
    from asr_batch.jobs.schedule import standing

    watched = standing.plan(job)
    if not dry_run:
        standing.install(watched)
    click.echo(standing.preview(watched), nl=False)
    if not dry_run:
        hint_lingering()


def hint_lingering() -> None:
    """Explain how to keep timers running after logout, if they would stop."""
    from asr_batch.jobs.schedule.systemd import lingers

    if not lingers():
        message = "The job runs only while you are logged in. To change this: loginctl enable-linger"
        click.echo(message, err=True)


@schedule.command("list", epilog="\b\nExample:\n  asr-batch schedule list")
def list_jobs() -> None:
    """List installed jobs: time, scheduler, file."""
    from asr_batch.jobs.schedule.jobs import entries

    found = entries()
    for entry in found:
        missing = "" if Path(entry.config).exists() else "  (the file is gone)"
        click.echo(f"{entry.at}  {entry.kind:7}  {entry.config}{missing}")
    if not found:
        click.echo("no scheduled jobs", err=True)


@schedule.command(epilog="\b\nExample:\n  asr-batch schedule remove job.toml")
@click.argument("job", metavar="job.toml", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Print what would be removed, remove nothing.")
def remove(job: Path, dry_run: bool) -> None:
    """Remove job.toml from the schedule.

    The file need not exist any more. Results are kept.
    """
    from asr_batch.jobs.schedule import jobs
    from asr_batch.jobs.schedule.entry import absolute, job_name

    name = job_name(absolute(job))
    if not any(entry.name == name for entry in jobs.entries()):
        raise ConfigError(f"{job} is not scheduled; `asr-batch schedule list` shows what is")
    if not dry_run:
        jobs.remove(job)
    click.echo(name)

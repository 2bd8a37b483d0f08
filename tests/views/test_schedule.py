from __future__ import annotations

import os
import pwd
import shlex
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from asr_batch.jobs.cli.main import main
from asr_batch.jobs.schedule import jobs
from asr_batch.jobs.schedule import standing as standing_unit
from asr_batch.jobs.schedule import systemd as schedule_systemd
from asr_batch.jobs.schedule.cron import block, with_block, without
from asr_batch.jobs.schedule.entry import job_name
from asr_batch.jobs.schedule.jobs import Planned
from asr_batch.jobs.schedule.systemd import service, timer

HOSTILE = [
    "it's 100%",
    "a b",
    "$HOME",
    '"quoted"',
    "back\\slash",
    "semi;colon & more",
    "`id`",
    "$(id)",
    "-x",
    "é",
]
OTHERS = "MAILTO=me@example.org\n# mine\n*/5 * * * * /usr/bin/true 50\\%\n"

CRONTAB = """#!/bin/sh
case "$1" in
-l) if [ -f "$FAKE/crontab" ]; then cat "$FAKE/crontab"; else echo "no crontab for me" >&2; exit 1; fi;;
-) echo write >>"$FAKE/writes"; cat >"$FAKE/crontab";;
*) exit 9;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "$@" >>"$FAKE/systemctl"
[ ! -f "$FAKE/broken" ]
"""


def program(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A machine with a crontab command and no systemd."""
    folder = tmp_path / "fake"
    (folder / "bin").mkdir(parents=True)
    program(folder / "bin" / "crontab", CRONTAB)
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.setenv("PATH", f"{folder}/bin:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(schedule_systemd, "RUNNING", folder / "systemd")
    return folder


@pytest.fixture
def systemd(fake):
    """The same with systemd."""
    program(fake / "bin" / "systemctl", SYSTEMCTL)
    (fake / "systemd").mkdir()
    return fake


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "jobs" / "nightly.toml"
    path.parent.mkdir()
    path.write_text('manifest = "m.csv"\nout = "out"\n')
    return path


def run(*arguments):
    return CliRunner().invoke(main, ["schedule", *map(str, arguments)])


def as_cron_reads(line):
    """The shell command of a crontab line: five fields off, and a backslash before % gone."""
    return line.split(maxsplit=5)[5].replace("\\%", "%")


def test_install_list_remove_leave_other_lines_alone(fake, job):
    (fake / "crontab").write_text(OTHERS)
    first = run("install", job, "--at", "02:00")
    assert first.exit_code == 0, first.output
    table = (fake / "crontab").read_text()
    assert table.startswith(OTHERS)
    lines = table.splitlines()[3:]
    assert lines[0] == f"# asr-batch begin {job_name(str(job))} {job}"
    assert lines[1].startswith("0 2 * * * ")
    assert shlex.split(as_cron_reads(lines[1])) == [
        *(sys.executable, "-P", "-m", "asr_batch.jobs", "run", "--config"),
        *(str(job), "--quiet"),
    ]
    assert lines[1] in first.stdout
    assert run("list").stdout == f"02:00  cron     {job}\n"
    assert run("remove", job).exit_code == 0
    assert (fake / "crontab").read_text() == OTHERS
    assert run("list").stdout == ""


def test_installing_again_replaces_and_the_same_writes_nothing(fake, job):
    run("install", job, "--at", "02:00")
    run("install", job, "--at", "2:00")
    assert (fake / "writes").read_text().count("write") == 1
    run("install", job, "--at", "23:05")
    table = (fake / "crontab").read_text()
    assert table.count("asr_batch.jobs") == 1
    assert "\n5 23 * * * " in table
    assert run("list").stdout.startswith("23:05  cron")


def test_dry_run_prints_and_writes_nothing(fake, job):
    shown = run("install", job, "--at", "02:00", "--dry-run")
    assert "0 2 * * * " in shown.stdout
    assert not (fake / "crontab").exists()
    run("install", job, "--at", "02:00")
    before = (fake / "crontab").read_text()
    assert run("remove", job, "--dry-run").exit_code == 0
    assert (fake / "crontab").read_text() == before


@pytest.mark.parametrize("name", HOSTILE)
def test_a_shell_gets_hostile_paths_as_they_are(tmp_path, name):
    config = str(tmp_path / name / f"{name}.toml")
    line = block(Planned(config, time_of("02:00"))).splitlines()[1]
    shown = subprocess.run(
        ["/bin/sh", "-c", f"printf '%s\\0' {as_cron_reads(line)}"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split("\0")[-3:] == [config, "--quiet", ""]
    assert "%" not in line.replace("\\%", "")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_paths_come_and_go(fake, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    config = folder / f"{name}.toml"
    config.write_text('manifest = "m.csv"\nout = "out"\n')
    assert run("install", config, "--at", "02:00").exit_code == 0
    assert run("list").stdout == f"02:00  cron     {config}\n"
    assert run("remove", config).exit_code == 0
    assert (fake / "crontab").read_text() == ""


def time_of(text):
    from asr_batch.jobs.config.values import time_of_day

    return time_of_day(text)


def test_units_quote_for_systemd():
    text = service(Planned('/a b/100%/$x/"y"/\\z.toml', time_of("02:00")))
    assert r'"/a b/100%%/$$x/\"y\"/\\z.toml" "--quiet"' in text
    assert "OnCalendar=*-*-* 02:00:00\nPersistent=true" in timer(Planned("/j.toml", time_of("02:00")))


def test_systemd_timer_where_systemd_runs(systemd, job, tmp_path):
    shown = run("install", job, "--at", "02:00")
    assert shown.exit_code == 0, shown.output
    units = tmp_path / "config" / "systemd" / "user"
    name = job_name(str(job))
    assert sorted(path.name for path in units.iterdir()) == [f"{name}.service", f"{name}.timer"]
    assert (units / f"{name}.timer").read_text() in shown.stdout
    told = (systemd / "systemctl").read_text()
    assert f"--user enable {name}.timer" in told
    assert told.index("daemon-reload") < told.index("enable")
    assert not (systemd / "crontab").exists()
    assert run("list").stdout == f"02:00  systemd  {job}\n"
    run("install", job, "--at", "03:30")
    assert run("list").stdout == f"03:30  systemd  {job}\n"
    assert run("remove", job).exit_code == 0
    assert list(units.iterdir()) == []
    assert f"disable --now {name}.timer" in (systemd / "systemctl").read_text()


def test_a_job_is_in_one_scheduler_only(systemd, job):
    run("install", job, "--at", "02:00", "--scheduler", "cron")
    assert run("list").stdout.startswith("02:00  cron")
    run("install", job, "--at", "04:00")
    assert run("list").stdout == f"04:00  systemd  {job}\n"
    run("install", job, "--at", "05:00", "--scheduler", "cron")
    assert run("list").stdout == f"05:00  cron     {job}\n"


def test_user_without_a_systemd_instance_gets_cron(systemd, job):
    (systemd / "broken").write_text("")
    assert "crontab:" in run("install", job, "--at", "02:00").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("install", "JOB", "--at", "26:00"), "expected a time of day"),
        (("install", "JOB", "--at", "2 am"), "expected a time of day"),
        (("install", "JOB", "--at", "02:00:30"), "seconds"),
        (("install", "none.toml", "--at", "02:00"), "cannot be read"),
        (("install", "JOB", "--at", "02:00", "--scheduler", "systemd"), "no systemd"),
        (("remove", "JOB"), "is not scheduled"),
    ],
)
def test_what_cannot_be_done_changes_nothing(fake, job, arguments, message):
    result = run(*(job if argument == "JOB" else argument for argument in arguments))
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (fake / "crontab").exists()


def test_bad_job_files(fake, job, tmp_path):
    for text, message in [
        ("manifes = 1", "manifes"),
        ('manifest = "-"\nout = "o"', "standard input"),
        ("", "missing"),
    ]:
        job.write_text(text)
        result = run("install", job, "--at", "02:00")
        assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    odd = tmp_path / "new\nline.toml"
    odd.write_text('manifest = "m.csv"\nout = "out"\n')
    assert run("install", odd, "--at", "02:00").exit_code == 2


def test_crontab_that_was_edited_by_hand(job):
    planned = Planned(str(job), time_of("02:00"))
    edited = OTHERS + block(planned).replace("0 2 *", "# my note\n7 4 *")
    assert with_block(edited, planned) == OTHERS + block(planned)
    assert without(edited, planned.name) == OTHERS
    assert without(edited, "asr-batch-other") == edited
    assert with_block("1 1 * * * x", planned) == "1 1 * * * x\n" + block(planned)
    with pytest.raises(Exception, match="but not its end"):
        with_block(block(planned).replace("# asr-batch end", "#"), planned)


def test_gone_job_file_is_shown_and_can_be_removed(fake, job):
    run("install", job, "--at", "02:00")
    job.unlink()
    assert "(the file is gone)" in run("list").stdout
    assert run("remove", job).exit_code == 0


def test_examples_in_help():
    assert 'schedule install job.toml --at "02:00"' in run("--help").output
    assert 'schedule install job.toml --at "02:00"' in run("install", "--help").output


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("cron"), reason="needs root and cron")
def test_a_real_cron_runs_the_line(tmp_path):
    """cron starts the command as it stands in the crontab; the run gets as far as its manifest."""
    if subprocess.run(["pgrep", "-x", "cron"], capture_output=True).returncode == 0:
        pytest.skip("a cron daemon of this machine is running")
    folder = tmp_path / "it's 100% $HOME"
    folder.mkdir()
    job = folder / "nightly.toml"
    job.write_text('manifest = "m.csv"\nout = "out"\n')
    (folder / "m.csv").write_text("id,audio\na,none.wav\n")
    before = subprocess.run(["crontab", "-l"], capture_output=True).stdout
    soon = time.localtime(time.time() + 65)
    asr = [sys.executable, "-m", "asr_batch.jobs", "schedule"]
    at = time.strftime("%H:%M", soon)
    subprocess.run([*asr, "install", str(job), "--at", at, "--scheduler", "cron"], check=True)
    daemon = subprocess.Popen(["cron", "-f"])
    try:
        end = time.time() + 150
        log = folder / "out" / "log.jsonl"
        while time.time() < end and not log.exists():
            time.sleep(1)
        assert log.exists()
    finally:
        daemon.terminate()
        daemon.wait()
        subprocess.run([*asr, "remove", str(job)], check=True)
    assert subprocess.run(["crontab", "-l"], capture_output=True).stdout == before
    assert pwd.getpwuid(Path(log).stat().st_uid).pw_name == "root"


@pytest.fixture
def standing(tmp_path):
    path = tmp_path / "jobs 100%" / "in.toml"
    (path.parent / "incoming").mkdir(parents=True)
    path.write_text('sources = ["incoming"]\nout = "out"\n')
    return path


def test_a_watched_folder_comes_and_goes(systemd, standing, tmp_path):
    done = run("watch", standing)
    assert done.exit_code == 0, done.output
    (unit,) = (tmp_path / "config/systemd/user").iterdir()
    assert unit.name == f"{job_name(str(standing))}-watch.service"
    text = unit.read_text()
    assert "Restart=on-failure" in text
    assert '"watch" "--config"' in text
    assert "100%%/in.toml" in text
    assert text in done.stdout
    assert [line.split()[:2] for line in (systemd / "systemctl").read_text().splitlines()[1:4]] == [
        ["--user", "daemon-reload"],
        ["--user", "enable"],
        ["--user", "restart"],
    ]
    assert run("list").stdout == f"watch  systemd  {standing}\n"
    assert run("remove", standing).exit_code == 0
    assert not unit.exists()


def test_watch_needs_systemd_and_a_folder(fake, job, standing):
    assert "no systemd instance" in run("watch", standing).stderr
    assert "expected one folder to watch" in run("watch", job).stderr
    assert run("watch", standing, "--dry-run").exit_code == 0


def test_a_stopped_unit_has_the_time_that_its_job_may_take(standing, job):
    job.write_text('manifest = "m.csv"\nout = "out"\ngrace = 600.5\n')
    units = [service(jobs.plan(job, "02:00")), standing_unit.unit(standing_unit.plan(standing))]
    for text, seconds in zip(units, (661, 90), strict=True):
        assert f"TimeoutStopSec={seconds}\n" in text
        assert "KillMode=mixed\n" in text
        assert "SuccessExitStatus=143 SIGTERM\n" in text


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_finds_no_fault_with_the_units(standing, job, tmp_path):
    planned = jobs.plan(job, "02:00")
    texts = {
        "night.service": service(planned),
        "night.timer": timer(planned),
        "watch.service": standing_unit.unit(standing_unit.plan(standing)),
    }
    paths = [tmp_path / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", *paths], capture_output=True, text=True, timeout=60
    )
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "night." in line]
    assert complaints == []

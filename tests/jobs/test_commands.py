"""The commands as a user calls them: subprocesses, exit codes, what stands on stdout and stderr."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from asr_batch.jobs.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = ["run", "plan", "status", "retry", "verify", "compact"]


def call(*args, **more) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "asr_batch.jobs", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        **more,
    )


def call_here(*args) -> Result:
    """The same in this process, for the many cases that stop before any work."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return CliRunner().invoke(main, [str(arg) for arg in args])
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    """A data set of five examples: three good rows, one broken, one missing; made by the bundled model."""
    root = tmp_path_factory.mktemp("job")
    lines = ["id,audio,text,who", "a,telephone.wav,Five one five.,x"]
    lines += ["b,studio.flac,,y", "silence,silence.wav,,z", "broken,broken.flac,,", "missing,gone.wav,,"]
    text = "\n".join(lines[:1] + [line.replace(",", f",{EXAMPLES}/", 1) for line in lines[1:]])
    (root / "manifest.csv").write_text(text + "\n")
    done = call("run", root / "manifest.csv", "--out", root / "out", "--no-ray")
    assert done.returncode == 3, done.stderr
    (root / "run.json").write_text(json.dumps({"out": done.stdout, "err": done.stderr}))
    return root


def test_bad_usage_as_a_process(tmp_path):
    done = call("run", "none.csv", "--out", "o", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    expected = "a manifest (CSV, TSV, JSONL, Parquet, list of paths), or audio files, folders and globs"
    assert done.stderr == f"asr-batch: none.csv: no such file or folder; expected {expected}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_an_example(command):
    done = call_here(command, "--help")
    assert done.exit_code == 0
    assert f"Example:  asr-batch {command} " in done.stdout


def test_run_says_what_happened(data_set):
    said = json.loads((data_set / "run.json").read_text())
    assert said["out"] == f"{data_set}/out\n"
    assert "demonstration model" in said["err"]
    assert "Five one five." in said["err"]
    assert "broken.flac is not a sound file" in said["err"]
    assert "retry" in said["err"]
    assert "libmpg123" not in said["err"]
    summary = json.loads((data_set / "out/summary.json").read_text())
    assert summary["rows"] == {"total": 5, "ok": 2, "empty": 1, "partial": 0, "failed": 2, "pending": 0}
    assert summary["errors"] == {"not_found": 1, "unreadable": 1}
    assert "demonstration model" in summary["model"]["warning"]
    assert summary["wer"] == 0.0
    job = json.loads((data_set / "out/job.json").read_text())
    assert job["manifest"]["rows"] == 5
    assert (data_set / "out/metrics.prom").read_text().startswith("# HELP")


def test_the_tables_have_the_names_and_types_of_the_contract(data_set):
    schema = pq.read_schema(next((data_set / "out/transcripts").glob("*.parquet")))
    assert schema.metadata[b"asr_batch.schema"] == b"1"
    assert schema.names[:5] == ["id", "audio", "status", "error_code", "error_message"]
    assert schema.names[-1] == "who"
    assert str(schema.field("finished_at").type) == "timestamp[us, tz=UTC]"
    assert not schema.field("id").nullable


def test_again_is_quick_and_quiet(data_set):
    done = call("run", data_set / "manifest.csv", "--out", data_set / "out", "--no-ray", "--progress", "json")
    assert done.returncode == 3
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert events[-1]["event"] == "message"
    assert {event["event"] for event in events} == {"message", "progress"}


def test_quiet_and_config(data_set, tmp_path):
    (tmp_path / "m.csv").write_text(f"audio\n{EXAMPLES}/silence.wav\n")
    (tmp_path / "job.toml").write_text('manifest = "m.csv"\nout = "here"\nno-ray = true\nlanguage = "de"\n')
    done = call("run", "--config", tmp_path / "job.toml", "--language", "en", "--quiet", cwd="/")
    assert (done.returncode, done.stdout) == (0, "")
    warning, *more = done.stderr.splitlines()
    assert "demonstration model" in warning, "cron's runs are quiet, and this must be known there, too"
    assert not more
    job = json.loads((tmp_path / "here/job.json").read_text())
    assert job["options"]["language"] == "en"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'manifest = "m.csv"\nlangauge = "en"\n',
            "job.toml:2: unknown key langauge = 'en'; expected lang",
        ),
        ("grace = -1\n", "job.toml:1: grace = -1 is not usable; expected a number from 0"),
        ('\n\nencoder = "npu"\n', "job.toml:3: encoder = 'npu' is not usable; expected auto, cpu, hailo"),
        ('max_failures = "x"\n', "expected a number of rows or a share such as 1%"),
        ("stop_at = 25\n", "expected a time of day such as 06:30"),
        ("= 3\n", "not TOML"),
        ('out = "o"\nprompt = "café"\n', "job.toml:2: not UTF-8; expected a TOML file in UTF-8"),
    ],
)
def test_config_errors_name_the_line(tmp_path, text, said):
    (tmp_path / "job.toml").write_text(text, encoding="latin-1")
    done = call_here("run", "--config", tmp_path / "job.toml")
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["m.csv"], "--out DIR is missing"),
        (["--out", "o"], "SOURCE is missing"),
        (["none.csv", "--out", "o"], "no such file"),
        (["bad.csv", "--out", "o"], "line 2, column 'start': 'x'"),
        (["m.csv", "--out", "o", "--model", "no-such-model"], "no-such-model"),
        (["m.csv", "--out", "o", "--format", "srt,doc"], "--format 'srt,doc' is not usable; expected one"),
        (["m.csv", "--out", "o", "--beside-audio"], "--beside-audio needs --format"),
        (["m.csv", "--out", "o", "--workers", "0"], "--workers 0 is not usable"),
        (["m.csv", "--out", "o", "--min-coverage", "97"], "from 0 to 1"),
        (["m.csv", "--out", "file"], "not a folder"),
        (["m.csv", "--out", "o", "--encoder", "gpu"], "gpu"),
    ],
)
def test_bad_usage_starts_nothing(tmp_path, monkeypatch, capfd, args, said):
    (tmp_path / "m.csv").write_text("audio\na.wav\n")
    (tmp_path / "bad.csv").write_text("audio,start\na.wav,x\n")
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    done = call_here("run", *args, "--no-ray")
    err = done.stderr + capfd.readouterr().err
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "o").exists()


def test_manifest_from_standard_input_can_be_retried(tmp_path):
    done = call(
        "run",
        "-",
        "--out",
        "out",
        "--no-ray",
        cwd=tmp_path,
        input=f"id,audio\ns,{EXAMPLES}/silence.wav\nm,x.wav\n",
    )
    assert done.returncode == 3
    (tmp_path / "x.wav").write_bytes((EXAMPLES / "silence.wav").read_bytes())
    done = call("retry", "out", "--only", "failed", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["rows"]["empty"] == 2


def test_status_plan_and_verify(data_set):
    done = call("status", data_set / "out")
    assert done.returncode == 0
    assert "finished" in done.stdout
    assert "1 not_found" in done.stdout
    done = call("plan", data_set / "manifest.csv", "--out", data_set / "out")
    assert "5 already done, 2 unreadable, 0 duplicates" in done.stdout
    done = call("verify", data_set / "out", "--sample", "100%", "--no-ray")
    assert (done.returncode, done.stdout) == (0, f"{data_set}/out: all checks passed\n")
    assert call("compact", data_set / "out").stdout == "1 part before, 1 after\n"


def test_plan_finds_duplicates_and_wants_no_data_set(tmp_path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes((EXAMPLES / "telephone.wav").read_bytes())
    (tmp_path / "m.txt").write_text("a.wav\nb.wav\na.wav\ngone.wav\n.\n")
    done = call("plan", tmp_path / "m.txt", "--json")
    found = json.loads(done.stdout)
    assert (found["rows"], found["duplicates"], found["unreadable"]) == (5, 2, 2)
    assert [row["line"] for row in found["duplicate_rows"]] == [2, 3]
    assert found["errors"] == {"not_found": 1, "unreadable": 1}


def test_verify_finds_what_is_wrong(data_set, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(data_set / "out", out)
    part = next((out / "transcripts").glob("*.parquet"))
    table = pq.read_table(part)
    duration = table.column("duration").to_pylist()
    where = table.column("status").to_pylist().index("ok")
    duration[where] += 1.0
    import pyarrow as pa

    place = table.schema.get_field_index("duration")
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array(duration)), part)
    done = call("verify", out)
    assert done.returncode == 4
    assert "windows tile" in done.stdout
    part.unlink()
    assert "no counterpart" in call("verify", out).stdout


@pytest.mark.parametrize("command", ["status", "verify", "retry", "compact"])
def test_a_folder_that_is_no_data_set(tmp_path, command):
    done = call_here(command, tmp_path)
    assert done.exit_code == 2
    assert "not a data set" in done.stderr


@pytest.mark.parametrize("command", ["retry", "compact"])
def test_a_folder_that_cannot_be_written(data_set, tmp_path, command):
    shutil.copytree(data_set / "out", tmp_path / "out")
    (tmp_path / "out/.lock").unlink()
    (tmp_path / "out/.lock").mkdir()
    done = call(command, tmp_path / "out")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_sigterm_drains(tmp_path):
    lines = ["id,audio,start"] + [f"r{i},{EXAMPLES}/message.ogg,{i / 1000}" for i in range(80)]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    options = ["--out", "out", "--no-ray", "--grace", "0", "--batch-size", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "asr_batch.jobs", "run", "m.csv", *options],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/transcripts/*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 143, err
    assert "the same command resumes" in err
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["exit_code"] == 143
    assert summary["rows"]["pending"] > 0
    assert "stopped" in call("status", tmp_path / "out").stdout

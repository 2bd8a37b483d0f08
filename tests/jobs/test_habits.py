"""Options of other programs are answered with ours, in one sentence and exit code 2."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from asr_batch.jobs.cli.commands.run import run
from asr_batch.jobs.cli.habits import HABITS
from asr_batch.jobs.cli.main import main


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ("-o", "--out DIR"),
        ("--output_dir", "--out DIR"),
        ("--device", "--provider"),
        ("--vad_filter", "--plain"),
        ("--vad-filter", "--plain"),
        ("--compute_type", "--precision"),
        ("--output_format", "--format"),
        ("--model_size", "--model"),
        ("--word_timestamps", "--word-timestamps"),
        ("--overwrite", "--redo"),
        ("--force", "--redo"),
        ("--beam_size", "--beam-size"),
    ],
)
def test_a_habit_is_answered(option, names):
    done = CliRunner().invoke(main, ["run", "talk.mp3", option, "x"])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert re.fullmatch(rf"asr-batch: [^\n]*{names}[^\n]*\n", done.stderr)


def test_an_unknown_option_is_left_to_click():
    done = CliRunner().invoke(main, ["run", "talk.mp3", "--frobnicate"])
    assert done.exit_code == 2
    assert "No such option '--frobnicate'" in done.stderr


def test_answers_name_options_that_exist_for_those_that_do_not():
    ours = {name for parameter in run.params for name in parameter.opts}
    named = {option for text in HABITS.values() for option in re.findall(r"(?<!\w)--[a-z-]+", text)}
    assert named <= ours
    assert not ours & set(HABITS)

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from asr_batch.jobs.cli.main import main
from asr_batch.jobs.views.diff import compare_datasets


def run(*arguments):
    return CliRunner().invoke(main, ["diff", *map(str, arguments)])


@pytest.fixture
def two(make, tmp_path):
    reference = {"reference": "the red house stands alone"}
    a = [
        make.row("same", "the red house stands alone", **reference),
        make.row("win", "the bed house stands a loan", **reference),
        make.row("loss", "the red house stands alone", **reference),
        make.row("died", "the red house stands alone", **reference),
        make.row("plain", "first"),
        make.row("gone", "only here"),
    ]
    b = [
        make.row("plain", "second"),
        make.row("same", "the red house stands alone", **reference),
        make.row("win", "the red house stands alone", **reference),
        make.row("loss", "the red mouse stands", **reference),
        make.row("died", status="failed", **reference),
        make.row("new", "only there"),
    ]
    return make.dataset(tmp_path / "a", a, parts=2), make.dataset(tmp_path / "b", b, parts=2)


def test_counts_wers_and_wins(two):
    found = compare_datasets(*two)
    assert (found.rows_a, found.rows_b, found.only_a, found.only_b) == (6, 6, 1, 1)
    assert (found.same, found.changed, found.wins, found.losses, found.ties) == (1, 4, 1, 2, 0)
    assert found.errors_a.wer == pytest.approx(3 / 20)
    assert found.errors_b.wer == pytest.approx(7 / 20)
    assert [change.id for change in found.changes] == ["died", "loss", "win", "plain"]
    assert found.changes[1].text_b == "the red mouse stands"


def test_text_for_a_person(two):
    output = run(*two).output
    assert "5 rows in both: 1 same, 4 changed" in output
    assert "WER 15.00% -> 35.00% (+20.00%)" in output
    assert "died  ok -> failed  WER 0.0% -> 100.0%" in output
    assert "  - first\n  + second" in output


@pytest.mark.parametrize(
    ("limit", "code"), [("0.2", 0), ("20%", 0), ("0.19", 4), ("0", 4), ("0.5", 0), ("much", 2), ("nan", 2)]
)
def test_exit_code_for_ci(two, limit, code):
    assert run(*two, "--max-wer-increase", limit).exit_code == code


def test_exit_code_when_it_got_better(two):
    a, b = two
    assert run(b, a, "--max-wer-increase", "0").exit_code == 0


def test_json(two):
    found = json.loads(run(*two, "--json", "--show", "1").stdout)
    assert found["wer_increase"] == pytest.approx(0.2)
    assert (found["changed"], found["wins"], found["losses"]) == (4, 1, 2)
    assert [change["id"] for change in found["changes"]] == ["died"]


def test_gate_without_references_is_a_usage_error(make, tmp_path):
    a = make.dataset(tmp_path / "a", [make.row("x", "one")])
    b = make.dataset(tmp_path / "b", [make.row("x", "two")])
    assert run(a, b).exit_code == 0
    result = run(a, b, "--max-wer-increase", "0.1")
    assert result.exit_code == 2
    assert "needs references" in result.stderr


def test_references_of_either_side_score_both(make, tmp_path):
    a = make.dataset(tmp_path / "a", [make.row("x", "red")])
    b = make.dataset(tmp_path / "b", [make.row("x", "blue", reference="blue")])
    forward, back = compare_datasets(a, b), compare_datasets(b, a)
    assert (forward.errors_a.wer, forward.errors_b.wer) == (1.0, 0.0)
    assert (back.errors_a.wer, back.errors_b.wer) == (0.0, 1.0)
    assert (forward.wins, back.losses) == (1, 1)


def test_control_characters_do_not_reach_the_terminal(make, tmp_path):
    a = make.dataset(tmp_path / "a", [make.row("x\x1b[2J", "one")])
    b = make.dataset(tmp_path / "b", [make.row("x\x1b[2J", "\x1b]0;title\x07two")])
    output = run(a, b).output
    assert "\x1b" not in output
    assert "\x07" not in output


def test_errors_and_example(tmp_path):
    assert run(tmp_path / "none", tmp_path / "none").exit_code == 2
    assert "asr-batch diff out-old out-new" in run("--help").output


def test_long_texts_are_shown_where_they_differ(make, tmp_path):
    same = "the red house stands alone " * 40
    a = make.dataset(tmp_path / "a", [make.row("x", same + "at night")])
    b = make.dataset(tmp_path / "b", [make.row("x", same + "at last " + same)])
    output = run(a, b).output
    assert output.startswith(f"A (-) {a}, B (+) {b}\n")
    before, after = output.splitlines()[-2:]
    assert before.startswith("  - …")
    assert before.endswith("stands alone at night")
    assert len(before) < 80  # the difference is near the beginning
    assert "alone at last the red" in after
    assert after.endswith("…")
    assert len(after) < 310

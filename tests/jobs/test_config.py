from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from asr_batch.jobs.cli.main import main
from asr_batch.jobs.config.build import build_config, from_job
from asr_batch.jobs.config.fingerprint import Settings, settings_base
from asr_batch.jobs.config.keys import KEYS, RunConfig
from asr_batch.jobs.config.values import check_value, expected, failures_allowed, next_occurrence, time_of_day
from asr_batch.manifests.errors import ConfigError
from asr_batch.manifests.records import AudioItem

CONTRACT = """--out --model --encoder --address --workers --no-ray --language --batch-size --fresh
--min-coverage --max-failures --precision --provider --max-new-tokens --word-timestamps --plain --config
--progress --quiet -v --grace --stop-at --max-hours --metrics-port"""


def test_the_options_of_the_contract():
    text = CliRunner().invoke(main, ["run", "--help"]).stdout
    assert [option for option in CONTRACT.split() if option not in text] == []


@pytest.mark.parametrize(
    ("text", "rows", "allowed"), [("0", 9, 0), ("3", 9, 3), ("1%", 200, 2), ("2.5 %", 100, 2.5)]
)
def test_failures_allowed(text, rows, allowed):
    assert failures_allowed(text, rows) == allowed


@pytest.mark.parametrize("text", ["", "x", "1.5", "-1", "101%", "%"])
def test_failures_that_mean_nothing(text):
    with pytest.raises(ConfigError, match="1%"):
        check_value("max_failures", text, "here")


def test_the_next_occurrence_of_a_time():
    noon = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    assert next_occurrence(time_of_day("06:30"), noon) == datetime(2026, 3, 2, 6, 30, tzinfo=UTC)
    assert next_occurrence(time_of_day("23:00"), noon) == datetime(2026, 3, 1, 23, 0, tzinfo=UTC)
    assert next_occurrence(time_of_day("12:00"), noon).day == 2


@pytest.mark.parametrize("text", ["24:00", "6", "06:61", "later"])
def test_times_that_are_none(text):
    with pytest.raises(ValueError, match="06:30"):
        time_of_day(text)


def fingerprint(item: AudioItem | None = None, **options) -> str:
    return Settings(settings_base(RunConfig(**options))).sha256(item)


def test_the_fingerprint_covers_what_decides_the_text_and_nothing_else():
    item = AudioItem("a", "a.wav", "/a.wav")
    base = fingerprint(item)
    same = {"workers": 3, "batch_size": 4, "threads": 1, "no_ray": True, "quiet": True, "part_rows": 7}
    assert fingerprint(item, **same) == base
    for other in (
        {"language": "de"},
        {"plain": True},
        {"beam_size": 2},
        {"precision": "fp32"},
        {"window": 5.0},
    ):
        assert fingerprint(item, **other) != base
    owns = {"start": 1.0, "channel": "1", "prompt": "x", "task": "translate", "language": "de"}
    for name, value in owns.items():
        assert fingerprint(AudioItem("a", "a.wav", "/a.wav", **{name: value})) != base
    german = AudioItem("a", "a.wav", "/a.wav", language="de")
    assert fingerprint(german, language="fr") == fingerprint(german)
    assert fingerprint(AudioItem("b", "b.wav", "/b.wav", reference="x", line=9)) == base


def test_the_command_line_wins_over_the_file():
    config = build_config(
        {"manifest": "m", "language": "en", "quiet": None}, {"out": "o", "language": "de", "quiet": True}
    )
    assert (config.manifest, config.out, config.language, config.quiet) == ("m", "o", "en", True)


@pytest.mark.parametrize(
    ("together", "said"),
    [
        (
            {"no_ray": True, "address": "auto"},
            "--no-ray and --address auto exclude each other: --no-ray stays in",
        ),
        (
            {"plain": True, "beam_size": 5},
            "--plain and --beam-size 5 exclude each other: --plain decodes each",
        ),
        ({"plain": True, "second_model": "base"}, "--plain and --second-model base"),
        ({"plain": True, "timestamps": True}, "--plain and --timestamps exclude"),
        ({"plain": True, "drop_hallucinations": True}, "--plain and --drop-hallucinations exclude"),
    ],
)
def test_settings_that_exclude_each_other(together, said):
    with pytest.raises(ConfigError) as raised:
        build_config({"manifest": "m", "out": "o", **together})
    assert said in str(raised.value)
    with pytest.raises(ConfigError):
        build_config({"manifest": "m", "out": "o"}, together)
    (one, value), (other, its) = together.items()
    won = build_config({"manifest": "m", "out": "o", other: its}, {one: value})
    assert getattr(won, one) == KEYS[one].default
    won = build_config({"manifest": "m", "out": "o", one: value}, {other: its})
    assert getattr(won, other) == KEYS[other].default


@pytest.mark.parametrize(
    "together",
    [
        {"no_ray": True, "address": "local"},
        {"no_ray": False, "address": "auto"},
        {"plain": True, "beam_size": 1, "word_timestamps": True, "max_new_tokens": 5},
    ],
)
def test_settings_that_go_together(together):
    config = build_config({"manifest": "m", "out": "o", **together})
    assert {name: getattr(config, name) for name in together} == together


def test_a_job_file_of_another_version_can_be_read():
    config = from_job({"language": "de", "gone_since": 1}, out="o")
    assert (config.language, config.out, config.grace) == ("de", "o", 30.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", 1.5),
        ("workers", True),
        ("quiet", 1),
        ("window", 0),
        ("workers", 100_000),
        ("batch_size", 1_000_000),
        ("model", ""),
        ("out", " "),
        ("format", ""),
        ("model", 3),
        ("task", "sing"),
        ("grace", float("nan")),
        ("sources", "a.wav"),
        ("sources", [1]),
    ],
)
def test_values_of_a_wrong_kind(name, value):
    with pytest.raises(ConfigError, match=f"here: {name} = "):
        check_value(name, value, "here")


def test_every_key_but_the_arguments_stands_under_a_heading():
    assert [name for name, key in KEYS.items() if not key.heading] == ["manifest", "sources"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("precision", "auto, fp32, int8, int4"),
        ("workers", "a whole number from 1 to 1024"),
        ("part_rows", "a whole number from 1"),
        ("metrics_port", "a whole number from 1 to 65535"),
        ("repair_budget", "a number from 0 to 10"),
        ("quiet", "true or false"),
        ("sources", "a list of paths"),
        ("out", "text"),
    ],
)
def test_what_a_key_expects_is_told_from_its_type(name, words):
    assert expected(name) == words


def test_every_default_is_a_value_of_its_type():
    for name, key in KEYS.items():
        if key.default is not None:
            assert check_value(name, key.default, "default") == key.default


def test_a_job_file_edited_by_hand_is_refused():
    with pytest.raises(ConfigError, match=r"job\.json: beam_size = 'many' is not usable; expected a whole"):
        from_job({"beam_size": "many"})


def test_help_of_run_lists_every_option_once():
    shown = CliRunner().invoke(main, ["run", "--help"], terminal_width=200).output
    for name in set(KEYS) - {"manifest", "sources"} | {"config"}:
        option = f"--{name.replace('_', '-')}"
        assert len(re.findall(rf"^  (?:-\w, )?{option}\b(?!-)", shown, flags=re.M)) == 1, option


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# none\n\n", "has no terms"),
        ("\n".join(f"t{n}" for n in range(1001)), "1001 terms"),
        (None, "cannot be read"),
    ],
)
def test_a_glossary_that_cannot_be_used_stops_before_work(tmp_path, text, said):
    if text is not None:
        (tmp_path / "terms.txt").write_text(text)
    with pytest.raises(ConfigError, match=said):
        build_config({"manifest": "m.csv", "out": "o", "glossary": str(tmp_path / "terms.txt")})

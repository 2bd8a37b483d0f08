from __future__ import annotations

import re
import urllib.request
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from asr_batch.jobs.console.metrics import render, serve
from asr_batch.jobs.dataset.summary import RowCounts, Summary
from asr_batch.manifests.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "alerts" / "asr-batch.rules.yml"


def samples(text):
    return {
        (sample.name, *sorted((k, v) for k, v in sample.labels.items() if k != "dataset")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def full(make):
    rows = [make.row("a"), make.row("b", status="failed"), make.row("c", "", status="empty")]
    return summary_of(make.summary(rows, wer=0.1, cer=0.05, exit_code=3))


def summary_of(figures):
    return msgspec.convert(figures, Summary)


def node(name, **more):
    return {
        "node": name,
        "address": "127.0.0.1",
        "alive": True,
        "workers": 1,
        "encoder_backend": "cpu",
    } | more


def test_its_own_parser_reads_all_figures_back(make):
    found = samples(render(full(make)))
    assert found["asr_batch_rows", ("status", "ok")] == 1
    assert found["asr_batch_rows", ("status", "pending")] == 0
    assert found["asr_batch_manifest_rows",] == 3
    assert found["asr_batch_error_rows", ("code", "not_found")] == 1
    assert found["asr_batch_coverage_ratio",] == 0.99
    assert found["asr_batch_word_error_ratio",] == 0.1
    assert found["asr_batch_last_run_exit_code",] == 3
    assert found["asr_batch_last_run_started_timestamp_seconds",] == 1795226400
    assert found["asr_batch_node_up", ("node", "n1")] == 1
    assert found["asr_batch_gate_held", ("gate", "min-coverage")] == 1
    assert found["asr_batch_audio_seconds",] == pytest.approx(12.0)


def test_every_family_keeps_the_conventions(make):
    for family in text_string_to_metric_families(render(full(make))):
        assert re.fullmatch(r"asr_batch_[a-z_]+[a-z]", family.name)
        assert family.documentation.endswith(".")
        assert not re.search(r"_(ms|milliseconds|minutes|hours|percent|total)\b", family.name)
        assert all(sample.labels["dataset"] == "out" for sample in family.samples)


def test_nothing_is_invented_for_what_a_summary_lacks():
    odd = Summary(dataset="d", wer=None, coverage=float("nan"), started_at="soon")
    names = {name for name, *_ in samples(render(odd))}
    assert "asr_batch_audio_seconds" in names
    lacking = ("word_error_ratio", "character_error_ratio", "coverage_ratio", "last_run_exit_code")
    assert names.isdisjoint({f"asr_batch_{name}" for name in lacking})
    assert not [name for name in names if "timestamp" in name or "node" in name or "gate" in name]


def test_hostile_label_values_survive():
    name = 'a"b\\c\nd {} é'
    nodes = [node(name), node(name, alive=False)]
    summary = summary_of({"dataset": name, "nodes": nodes})
    families = list(text_string_to_metric_families(render(summary)))
    up = next(f for f in families if f.name == "asr_batch_node_up")
    assert [(s.labels["node"], s.labels["dataset"], s.value) for s in up.samples] == [(name, name, 0.0)]


def test_endpoint_follows_the_job_and_listens_on_this_machine_only(make):
    summary = full(make)
    server = serve(0, lambda: summary)
    try:
        url = f"http://127.0.0.1:{server.port}/metrics"
        before = urllib.request.urlopen(url).read().decode()
        summary.rows = RowCounts(total=9, ok=9)
        after = urllib.request.urlopen(url).read().decode()
        assert samples(before)["asr_batch_rows", ("status", "ok")] == 1
        assert samples(after)["asr_batch_rows", ("status", "ok")] == 9
        assert server._server.server_address[0] == "127.0.0.1"
        with pytest.raises(ConfigError, match="--metrics-port"):
            serve(server.port, lambda: summary)
    finally:
        server.close()


def test_alert_rules_use_metrics_that_exist(make):
    summary = full(make)
    summary.nodes = (replace(summary.nodes[0], temperature=60.0),)
    names = {name for name, *_ in samples(render(summary))}
    used = set(re.findall(r"\basr_batch_[a-z_]+", RULES.read_text()))
    assert used
    assert used <= names


def test_alert_rules_are_well_formed():
    yaml = pytest.importorskip("yaml")
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 5
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert "summary" in rule["annotations"]

"""`models inspect` on a model that runs, in its three forms, and on folders that hold none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from asr_batch.jobs.cli.main import main
from asr_batch.manifests.errors import ModelError
from asr_batch.models.inspect.report import weights_report

QWEN = Path(__file__).resolve().parents[1] / "data" / "qwen3_asr_tiny"


def inspect(*arguments: object):
    return CliRunner().invoke(main, ["models", "inspect", *map(str, arguments)])


def test_json_tells_all_of_a_model_that_runs() -> None:
    done = inspect(QWEN, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["kind"] == "qwen3-onnx"
    assert report["verdict"]["fits"]
    assert report["verdict"]["runs"]
    assert report["about"]["special_ids"]["audio_pad"] == 610
    graphs = {graph["file"]: graph for graph in report["graphs"]}
    step = graphs["decoder_step.int4.onnx"]
    assert step["precision"].startswith("int4")
    assert step["providers"] == ["CPUExecutionProvider"]
    assert step["inputs"][0] == {"name": "input_embeds", "type": "float32", "shape": ["batch", 1, 64]}
    assert step["nodes"] == sum(row["count"] for row in step["operators"])
    sizes = {row["file"]: row["bytes"] for row in report["files"]}
    assert sizes["encoder.onnx"] == (QWEN / "encoder.onnx").stat().st_size


def test_text_and_markdown_have_the_same_facts() -> None:
    text, markdown = inspect(QWEN, "--no-run"), inspect(QWEN, "--no-run", "--markdown")
    for fact in (
        "audio_pad",
        "MatMulNBits",
        "decoder_weights.int4.data",
        "input_embeds",
        "not loaded, as requested",
    ):
        assert fact in text.stdout
        assert fact in markdown.stdout
    assert "| operator | count | share |" in markdown.stdout


def test_a_model_with_a_missing_file_is_told_and_exits_2(tmp_path) -> None:
    shutil.copytree(QWEN, tmp_path / "m", ignore=shutil.ignore_patterns("embed_tokens.bin", "signals"))
    done = inspect(tmp_path / "m")
    assert done.exit_code == 2
    assert "layout fits    NO" in done.stdout
    assert "embed_tokens.bin" in done.stdout


def test_a_broken_graph_is_told_and_exits_2(tmp_path) -> None:
    shutil.copytree(QWEN, tmp_path / "m", ignore=shutil.ignore_patterns("signals"))
    (tmp_path / "m" / "encoder.onnx").write_bytes(b"<!doctype html>")
    done = inspect(tmp_path / "m")
    assert done.exit_code == 2
    assert "cannot be used" in done.stdout


def test_one_file_can_be_looked_into() -> None:
    done = inspect(QWEN / "encoder.onnx", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert [graph["file"] for graph in report["graphs"]] == ["encoder.onnx"]
    assert report["graphs"][0]["inputs"][0]["name"] == "mel"
    assert inspect(QWEN / "config.json").exit_code == 2


def test_no_model_is_one_sentence(tmp_path) -> None:
    done = inspect(tmp_path)
    assert done.exit_code == 2
    assert "no model of a known layout" in done.stderr


def test_safetensors_headers_are_bounded(tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    good = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    path.write_bytes(len(good).to_bytes(8, "little") + good + bytes(24))
    assert weights_report(path).parameters == 6
    for data in (
        b"",
        b"\xff" * 8,
        (1 << 40).to_bytes(8, "little") + bytes(100),
        len(good).to_bytes(8, "little") + good,  # no data behind the header
        (2).to_bytes(8, "little") + b"[]",
    ):
        path.write_bytes(data)
        with pytest.raises(ModelError):
            weights_report(path)

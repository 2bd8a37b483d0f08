"""HEF headers: every version, every chip, and files that are none or are damaged."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from asr_batch.manifests.errors import ModelError
from asr_batch.models.hailo.hef import read_header, runs_on
from asr_batch.models.hailo.layout import hidden_layout, layout, window_layout


@pytest.mark.parametrize("version", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("arch", "name"),
    [(0, "hailo8-legacy"), (1, "hailo8"), (2, "hailo8r"), (3, "hailo8l"), (5, "hailo10h"), (103, "hailo15h")],
)
def test_every_version_and_chip(version: int, arch: int, name: str, hef_file: Any) -> None:
    header = read_header(hef_file(arch=arch, version=version, sdk="3.31.0"))
    assert (header.arch, header.compiler, header.version) == (name, "3.31.0", version)


def test_an_unknown_chip_is_told_by_number(hef_file: Any) -> None:
    assert read_header(hef_file(arch=77)).arch == "unknown (77)"


def test_what_runs_where() -> None:
    assert runs_on("hailo8") == ("hailo8", "hailo8r", "hailo8l")
    assert runs_on("hailo8l") == ("hailo8l",)
    assert "hailo8-legacy" not in runs_on("hailo8")
    assert runs_on("hailo10h") == ("hailo10h",)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "not a HEF"),
        (lambda data: b"PK\x03\x04" + data[4:], "not a HEF"),
        (lambda data: data[:4] + struct.pack(">I", 9) + data[8:], "version 9"),
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: data[:20], "damaged"),
        (lambda data: data[:8] + struct.pack(">I", 0) + data[12:], "damaged"),
        (lambda data: data[:44] + b"\xff" * 16 + data[60:], "damaged"),
    ],
)
def test_damaged_files_are_one_sentence(damage: Any, words: str, hef_file: Any) -> None:
    path: Path = hef_file(version=2)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=words) as caught:
        read_header(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_header(tmp_path / "no.hef")


def test_ambiguous_or_foreign_shapes_are_refused() -> None:
    for shape in ([1, 1000, 64], [1000], [2, 1000, 80], [1, 80, 128]):
        with pytest.raises(ModelError, match="log-mel"):
            window_layout("x", shape, "NHWC")
    with pytest.raises(ModelError, match="hidden states"):
        hidden_layout("x", [1, 333, 512], "NHWC", 500)
    with pytest.raises(ModelError, match="does not hold"):
        layout("x", [1, 2, 3], "NHWC", 2, 4)


def test_large_v3_has_128_bins() -> None:
    found = window_layout("x", [1, 1000, 128], "NHWC")
    assert (found.rows, found.columns, found.nbytes) == (128, 1000, 512_000)

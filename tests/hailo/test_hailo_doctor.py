"""`diagnose` names what is wrong with an NPU and what to do, and never raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asr_batch.models.hailo.api import devices, wants_npu
from asr_batch.models.hailo.doctor import Check, diagnose
from asr_batch.workers import doctor


def by_name(bundle: Path | None = None) -> dict[str, Any]:
    return {check.name: check for check in diagnose(bundle)}


def test_a_healthy_device(npu: Any, bundle: Path) -> None:
    found = by_name(bundle)
    assert {name: found[name].state for name in ("scan", "chip", "firmware", "open", "HEF")} == dict.fromkeys(
        ("scan", "chip", "firmware", "open", "HEF"), "ok"
    )
    assert "TEST DOUBLE" in found["hailo_platform"].result
    assert found["clock"].result == "400 MHz"
    assert devices() == (("0000:01:00.0",), "")


@pytest.mark.parametrize(
    ("settings", "check", "words"),
    [
        ({"devices": []}, "scan", "lspci"),
        ({"held": ["0000:01:00.0"]}, "open", "in use by another process"),
        ({"driver_version": "4.19.0"}, "identify", "another version"),
        ({"import_error": "libhailort.so.4.23.0: no such file"}, "hailo_platform", "one version"),
        ({"devices": [{"id": "0000:01:00.0", "arch": "HAILO8L"}]}, "HEF", "hailo8l"),
    ],
)
def test_what_is_wrong(settings: dict[str, Any], check: str, words: str, npu: Any, bundle: Path) -> None:
    npu.set(**settings)
    found = by_name(bundle)[check]
    assert found.state == "failed"
    assert words in found.remedy


def test_heat_is_a_warning(npu: Any) -> None:
    npu.set(temperature=97.0)
    assert (by_name()["temperature"].state, by_name()["temperature"].result) == ("warning", "97 °C")


def test_a_machine_without_any_of_it(npu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "hailo_platform", None)
    assert [check.state for check in diagnose()] == ["skipped"]
    found, why = devices()
    assert found == ()
    assert "not installed" in why


def test_who_wants_the_npu(bundle: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "bundle.json").write_text("{}")
    asked = {(folder.name, encoder): wants_npu(folder, encoder)
             for folder in (bundle, plain, tmp_path) for encoder in ("auto", "cpu", "hailo")}  # fmt: skip
    assert [key for key, wants in asked.items() if wants and key[1] == "auto"] == [("bundle", "auto")]
    assert not any(wants for (_, encoder), wants in asked.items() if encoder == "cpu")
    assert all(wants for (_, encoder), wants in asked.items() if encoder == "hailo")


@pytest.mark.parametrize(("code", "state"), [(0, "ok"), (1, "bad")])
def test_doctor_asks_the_vendors_command_line(
    code: int, state: str, npu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "bin" / "hailortcli"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\necho Hailo Devices: $1\nexit {code}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent))
    (check,) = [check for check in doctor.npu() if check.name == "NPU: hailortcli scan"]
    assert (check.state, check.text) == (state, "Hailo Devices: scan")


def test_doctor_of_a_machine_without_npu_has_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda bundle: [Check("NPU", "skipped", "none here")])
    assert [(check.name, check.state) for check in doctor.npu()] == [("NPU", "ok")]

"""Each mismatch on a Pi with a Hailo device is named with its remedy; a healthy one is left in peace."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from asr_batch.models.hailo import machine
from asr_batch.models.hailo.doctor import diagnose

ROOT = Path(__file__).resolve().parents[2]
EIGHT, TEN = "0x2864", "0x45c4"
GOOD8 = {"hailo-all": "5.1.1", "hailort": "4.23.0", "python3-hailort": "4.23.0-1", "hailo-dkms": "4.23.0-1"}
GOOD10 = {"hailo-h10-all": "1.0", "h10-hailort": "5.1.1", "python3-h10-hailort": "5.1.1-1"}


class Pi:
    """Files that stand for a Raspberry Pi's."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        for name in ("PCI", "MODULES", "PROCESSES", "RELEASE"):
            monkeypatch.setattr(machine, name, folder / name)
        (folder / "bin").mkdir(parents=True)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
        self.packages({})

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def chip(self, number: str) -> None:
        self.write("PCI/0000:01:00.0/vendor", "0x1e60")
        self.write("PCI/0000:01:00.0/device", number)

    def packages(self, versions: dict[str, str]) -> None:
        lines = "\n".join(f"echo 'installed {name} {version}'" for name, version in versions.items())
        self.write("bin/dpkg-query", f"#!/bin/sh\necho 'not-installed hailofw 1'\n{lines}")
        (self.folder / "bin/dpkg-query").chmod(0o755)

    def healthy(self, chip: str, packages: dict[str, str], hailort: str) -> None:
        self.chip(chip)
        self.packages(packages)
        self.write("RELEASE", 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_CODENAME=trixie')
        self.write(f"MODULES/{'hailo_pci' if chip == EIGHT else 'hailo1x'}/version", hailort)
        self.write("PROCESSES/1/comm", "systemd")


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pi:
    return Pi(tmp_path / "pi", monkeypatch)


def bad(hailort: str | None) -> dict[str, str]:
    found = {check.name: check for check in machine.checks(hailort)}
    return {name: f"{c.result}; {c.remedy}" for name, c in found.items() if c.state in ("failed", "warning")}


@pytest.mark.parametrize(("chip", "packages", "hailort"), [(EIGHT, GOOD8, "4.23.0"), (TEN, GOOD10, "5.1.1")])
def test_nothing_is_wrong_with_a_healthy_one(
    pi: Pi, chip: str, packages: dict[str, str], hailort: str
) -> None:
    pi.healthy(chip, packages, hailort)
    assert bad(hailort) == {}
    names = [check.name for check in machine.checks(hailort)]
    assert names == ["PCIe device", "system", "packages", "HailoRT", "driver"]


def test_a_machine_without_any_of_it_says_nothing(pi: Pi) -> None:
    assert list(machine.checks(None)) == []


def test_both_packages_exclude_each_other(pi: Pi) -> None:
    pi.healthy(TEN, {**GOOD10, "hailo-all": "4.23.0"}, "5.1.1")
    assert "sudo apt purge hailo-all && sudo apt install hailo-h10-all" in bad("5.1.1")["packages"]


def test_the_package_of_the_other_chip(pi: Pi) -> None:
    pi.healthy(EIGHT, GOOD10, "5.1.1")
    found = bad("5.1.1")
    assert "hailo-h10-all with a Hailo-8 or 8L" in found["packages"]
    assert "a Hailo-8 or 8L needs HailoRT 4.x" in found["HailoRT"]
    pi.healthy(TEN, GOOD8, "4.23.0")
    assert "needs HailoRT 5.x" in bad("4.23.0")["HailoRT"]


def test_no_package_at_all(pi: Pi) -> None:
    pi.healthy(TEN, {}, "5.1.1")
    assert bad(None)["packages"] == "none; `sudo apt install dkms hailo-h10-all`, then restart"


def test_packages_of_different_versions(pi: Pi) -> None:
    pi.healthy(EIGHT, {**GOOD8, "hailo-dkms": "4.20.0-1"}, "4.23.0")
    found = bad("4.23.0")["package versions"]
    assert "hailo-dkms 4.20.0, hailort 4.23.0" in found
    assert "--reinstall hailo-all" in found


def test_a_driver_from_before_the_last_restart(pi: Pi) -> None:
    pi.healthy(EIGHT, GOOD8, "4.20.0")
    assert "hailo_pci 4.20.0, but HailoRT is 4.23.0; restart" in bad("4.23.0")["driver"]


def test_a_driver_that_is_not_loaded(pi: Pi) -> None:
    pi.chip(EIGHT)
    pi.packages(GOOD8)
    assert "not loaded; `sudo apt install dkms hailo-all`" in bad("4.23.0")["driver"]


@pytest.mark.parametrize(("chip", "state"), [(EIGHT, "warning"), (TEN, "failed")])
def test_an_older_system(pi: Pi, chip: str, state: str) -> None:
    pi.healthy(chip, {}, "4.20.0")
    pi.write("RELEASE", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm')
    (check,) = [check for check in machine.checks(None) if check.name == "system"]
    assert check.state == state
    assert "Trixie" in check.remedy


def test_a_wheel_for_another_python(pi: Pi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "site/hailo_platform/pyhailort"
    module.mkdir(parents=True)
    (module.parent / "__init__.py").touch()
    (module / "_pyhailort.cpython-39-aarch64-linux-gnu.so").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert "for Python 3.9, but this is" in bad(None)["wheel"]


def test_ollama_is_named_where_it_holds_the_device(pi: Pi, npu: Any) -> None:
    pi.write("PROCESSES/77/comm", "hailo-ollama")
    assert "sudo systemctl stop hailo-ollama" in bad(None)["other programs"]
    npu.set(held=["0000:01:00.0"])
    (opening,) = [check for check in diagnose() if check.name == "open"]
    assert opening.state == "failed"
    assert "hailo-ollama is running" in opening.remedy


def test_a_chip_that_this_hailort_refuses(npu: Any) -> None:
    npu.set(version="5.2.0")
    (opening,) = [check for check in diagnose() if check.name == "open"]
    assert "Hailo-8 and 8L need HailoRT 4.x" in opening.remedy


def script(pi: Pi, *arguments: str) -> subprocess.CompletedProcess[str]:
    for name in ("sudo", "apt-get"):
        pi.write(f"bin/{name}", '#!/bin/sh\necho "$0" "$@" >>"$LOG"')
        (pi.folder / "bin" / name).chmod(0o755)
    environment = {
        **os.environ,
        "LOG": str(pi.folder / "log"),
        "OS_RELEASE": str(pi.folder / "RELEASE"),
        "PCI_DEVICES": str(pi.folder / "PCI"),
    }
    command = ["sh", str(ROOT / "deploy/hailo-pi.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_script_stops_where_it_cannot_go_on(pi: Pi, tmp_path: Path) -> None:
    assert "usage" in script(pi).stderr
    pi.write("RELEASE", "VERSION_CODENAME=bookworm")
    assert "expected Raspberry Pi OS Trixie" in script(pi, "x.whl").stderr
    pi.write("RELEASE", "VERSION_CODENAME=trixie")
    assert "no Hailo device" in script(pi, "x.whl").stderr
    pi.chip("0x9999")
    assert "unknown kind (0x9999)" in script(pi, "x.whl").stderr
    pi.chip(EIGHT)
    pi.write("bin/dpkg-query", "#!/bin/sh\necho installed")  # for any package
    (pi.folder / "bin/dpkg-query").chmod(0o755)
    done = script(pi, "x.whl")
    assert done.returncode == 2
    assert "sudo apt purge hailo-h10-all" in done.stderr
    assert not (pi.folder / "log").exists()

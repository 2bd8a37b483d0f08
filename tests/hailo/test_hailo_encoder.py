"""The NPU encoder on the double: equal to the CPU within the noise, through every rung of the ladder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr_batch.manifests.errors import ModelError
from asr_batch.models.hailo.api import open_encoder
from asr_batch.models.hailo.bundle import add_hef
from asr_batch.models.hailo.encoder import HailoEncoder
from asr_batch.models.hailo.frames import Patience
from asr_batch.models.recognizer import LoadOptions

QUICK = Patience(
    deadline=1.0, shortest_deadline=0.3, reopen_waits=(0.01, 0.05, 0.3), comeback_waits=(0.3, 0.3)
)
NPU = LoadOptions(encoder="hailo")


@contextmanager
def opened(bundle: Path, cpu: Any, options: LoadOptions = NPU, patience: Patience = QUICK) -> Iterator[Any]:
    encoder = open_encoder(bundle, lambda: cpu, options, patience=patience)
    try:
        yield encoder
    finally:
        encoder.close()


def reference(cpu: Any, windows: np.ndarray) -> np.ndarray:
    return cpu.start(windows).result()


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize(
    ("version", "arch", "device"),
    [
        ("4.20.0", "HAILO8", "HAILO8"),
        ("4.21.0", "HAILO8L", "HAILO8"),
        ("4.22.0", "HAILO8L", "HAILO8L"),
        ("4.23.0", "HAILO8R", "HAILO8"),
        ("5.0.0", "HAILO10H", "HAILO10H"),
        ("5.2.0", "HAILO10H", "HAILO10H"),
    ],
)
def test_every_generation_encodes(
    version: str, arch: str, device: str, npu: Any, hef_file: Any, bundle: Path, cpu: Any, windows: np.ndarray
) -> None:
    npu.set(version=version, devices=[{"id": "0000:01:00.0", "arch": device}])
    add_hef(bundle, hef_file("other.hef", arch=arch), cpu=lambda: cpu)
    with opened(bundle, cpu) as encoder:
        assert (encoder.backend, encoder.n_mels, encoder.frames, encoder.width) == ("hailo", 80, 200, 32)
        job = encoder.start(windows)
        hidden = job.result()
        assert (job.backend, job.flags, hidden.shape) == ("hailo", (), (6, 100, 32))
        assert cosine(hidden, reference(cpu, windows)) > 0.998
        assert encoder.confirm()


@pytest.mark.parametrize(
    ("order", "shape", "out"),
    [
        ("NHWC", [1, 200, 80], [1, 100, 32]),
        ("NHWC", [200, 1, 80], [100, 1, 32]),
        ("NHCW", [1, 200, 80], [1, 100, 32]),
        ("NCHW", [1, 200, 80], [1, 100, 32]),
        ("NHW", [200, 80], [100, 32]),
    ],
)
def test_layout_and_order_come_from_the_hef(
    order: str,
    shape: list[int],
    out: list[int],
    npu: Any,
    hef_file: Any,
    bundle: Path,
    cpu: Any,
    windows: Any,
) -> None:
    npu.set(snr_db=80.0)
    outputs = [{"name": "x/out", "shape": out, "order": order}]
    add_hef(bundle, hef_file("o.hef", shape=shape, order=order, outputs=outputs), cpu=lambda: cpu)
    with opened(bundle, cpu) as encoder:
        np.testing.assert_allclose(encoder.start(windows).result(), reference(cpu, windows), atol=2e-3)


def test_windows_overlap_on_the_device(npu: Any, bundle: Path, cpu: Any, windows: np.ndarray) -> None:
    """Jobs started before others finished come back right, in any order of asking."""
    npu.set(ms=5.0, snr_db=60.0)
    with opened(bundle, cpu) as encoder:
        assert encoder.depth > 1
        jobs = [encoder.start(windows[i : i + 1]) for i in range(4)]
        for i in (3, 0, 2, 1):
            np.testing.assert_allclose(jobs[i].result()[0], reference(cpu, windows)[i], atol=0.03)
        assert all(job.backend == "hailo" for job in jobs)


@pytest.mark.parametrize(
    ("kind", "counter"),
    [("job", "retries"), ("abort", "configures"), ("overheat", "configures"), ("wrong_size", "configures"),
     ("timeout", "configures"), ("constant", "retries"), ("nan", "retries")],
)  # fmt: skip
def test_one_failure_costs_one_rung(
    kind: str, counter: str, npu: Any, bundle: Path, cpu: Any, windows: np.ndarray
) -> None:
    with opened(bundle, cpu) as encoder:
        before, wanted = cpu.windows, reference(cpu, windows)
        npu.fault(kind, after=1)
        jobs = [encoder.start(window[np.newaxis]) for window in windows]
        hidden = np.concatenate([job.result() for job in jobs])
        assert cosine(hidden, wanted) > 0.998
        assert {job.backend for job in jobs} == {"hailo"}
        assert encoder.stats()[counter] >= 1
        assert encoder.stats()["losses"] == 0
        assert cpu.windows == before + len(windows)  # the reference's only
        assert encoder.confirm()


def test_a_lost_device_comes_back_within_the_back_off(
    npu: Any, bundle: Path, cpu: Any, windows: np.ndarray
) -> None:
    with opened(bundle, cpu) as encoder:
        npu.fault("lost", after=1, seconds=0.15)
        jobs = [encoder.start(window[np.newaxis]) for window in windows]
        assert {(job.result(), job.backend)[1] for job in jobs} == {"hailo"}
        assert encoder.stats()["reopens"] >= 2


def test_a_device_gone_for_long_gives_way_to_the_cpu_and_returns(
    npu: Any, bundle: Path, cpu: Any, windows: np.ndarray
) -> None:
    import time

    with opened(bundle, cpu) as encoder:
        encoder.start(windows[:2]).result()
        npu.fault("lost", seconds=0.6)
        job = encoder.start(windows[:1])
        np.testing.assert_allclose(job.result(), reference(cpu, windows[:1]), atol=1e-5)
        assert (job.backend, job.flags, encoder.backend) == ("cpu", ("fallback_encoder",), "cpu")
        assert not encoder.confirm(), "two windows of the lost device were never proved"
        assert encoder.confirm()
        time.sleep(0.7)
        job = encoder.start(windows[:1])
        job.result()
        assert (job.backend, encoder.backend) == ("hailo", "hailo")


def test_garbage_with_success_is_quarantined(npu: Any, bundle: Path, cpu: Any, windows: np.ndarray) -> None:
    with opened(bundle, cpu) as encoder:
        encoder.start(windows[:3]).result()
        assert encoder.confirm()
        npu.fault("garbage", count=1000)
        jobs = [encoder.start(window[np.newaxis]) for window in windows]
        for job in jobs:
            job.result()
        trusted = encoder.confirm()
        assert not trusted or {job.backend for job in jobs} == {"cpu"}
        assert (encoder.backend, encoder.stats()["quarantined"]) == ("cpu", 1)
        assert encoder.confirm()
        npu.set(faults=[])
        assert encoder.start(windows[:1]).result() is not None
        assert encoder.backend == "cpu", "quarantine is for good"


def test_slow_drift_is_found_by_the_probe(npu: Any, bundle: Path, cpu: Any, windows: np.ndarray) -> None:
    with opened(bundle, cpu) as encoder:
        npu.fault("drift", count=10_000, db=0.5)
        answers = []
        for _ in range(20):
            encoder.start(windows[:4]).result()
            answers.append(encoder.confirm())
        assert answers[0] is True
        assert answers.count(False) == 1, "told once, then the CPU is trusted"
        assert encoder.backend == "cpu"


def test_a_first_probe_outside_the_bounds_leaves_the_cpu(npu: Any, bundle: Path, cpu: Any) -> None:
    npu.set(snr_db=3.0)
    with opened(bundle, cpu) as encoder:
        assert encoder.backend == "cpu"
        assert encoder.confirm()


@pytest.mark.parametrize("snr", [9.2, 15.0, 40.0])
def test_the_noise_of_real_hefs_is_inside_the_bounds(
    snr: float, npu: Any, bundle: Path, cpu: Any, windows: np.ndarray
) -> None:
    npu.set(snr_db=snr)
    with opened(bundle, cpu) as encoder:
        encoder.start(windows).result()
        assert encoder.confirm()
        assert encoder.backend == "hailo"


def test_a_fault_schedule_never_loses_a_window(npu: Any, bundle: Path, cpu: Any, windows: np.ndarray) -> None:
    rng = np.random.default_rng(3)
    kinds = ["job", "abort", "overheat", "wrong_size", "nan", "lost"]
    schedule = [
        {"kind": str(rng.choice(kinds)), "frame": int(f), "count": 1, "seconds": 0.05}
        for f in np.cumsum(rng.integers(3, 15, 12))
    ]
    npu.set(snr_db=50.0, faults=schedule)
    with opened(bundle, cpu) as encoder:
        wanted = reference(cpu, windows)
        for _ in range(15):
            jobs = [encoder.start(window[np.newaxis]) for window in windows]
            got = np.concatenate([job.result() for job in jobs])
            np.testing.assert_allclose(got, wanted, atol=0.1)


def test_the_text_of_the_golden_clip_can_condemn(npu: Any, bundle: Path, cpu: Any) -> None:
    said = iter(["the bear sleeps", "the bear sleeps", "seven eight nine"])
    encoder = open_encoder(bundle, lambda: cpu, NPU, read=lambda hidden: next(said), patience=QUICK)
    encoder.start(np.zeros((1, 80, 200), np.float32)).result()
    assert not encoder.confirm()
    assert encoder.backend == "cpu"
    encoder.close()


def test_readings_are_told(npu: Any, bundle: Path, cpu: Any, windows: np.ndarray) -> None:
    npu.set(temperature=61.5)
    with opened(bundle, cpu) as encoder:
        encoder.start(windows).result()
        stats = encoder.stats()
        assert (stats["temperature"], stats["clock_mhz"], stats["npu_windows"]) == (61.5, 400.0, 6)
        assert stats["probe_cosine"] > 0.99


# -- opening ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"devices": []}, ["no Hailo device", "lspci"]),
        ({"held": ["0000:01:00.0"]}, ["in use by another process", "stop it"]),
        ({"driver_version": "4.20.0"}, ["driver", "another version", "restart"]),
        ({"open_status": 36}, ["/dev/hailo0", "--device"]),
        ({"devices": [{"id": "0000:01:00.0", "arch": "HAILO10H"}]}, ["Hailo-8 and 8L need HailoRT 4.x"]),
        ({"devices": [{"id": "0000:01:00.0", "arch": "HAILO8L"}]}, ["for hailo8", "hailo8l", "--target"]),
        ({"configure_status": 71}, ["firmware has no memory"]),
        ({"configure_status": 16}, ["firmware", "one version"]),
        ({"import_error": "libhailort.so.4.23.0: cannot open shared object file"}, ["library", "reinstall"]),
        ({"version": "5.1.0"}, ["Hailo-8", "4.x"]),
    ],
)
def test_every_reason_is_a_sentence(
    settings: dict[str, Any], words: list[str], npu: Any, bundle: Path, cpu: Any
) -> None:
    npu.set(**settings)
    with pytest.raises(ModelError) as caught:
        open_encoder(bundle, lambda: cpu, NPU, patience=QUICK)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    with opened(bundle, cpu, LoadOptions(encoder="auto")) as encoder:
        assert encoder.backend == "cpu"


def test_a_missing_package_names_the_environment(
    bundle: Path, npu: Any, cpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hailo_platform", None)
    with pytest.raises(ModelError, match=r"hailo_platform is not installed.*system-site-packages"):
        open_encoder(bundle, lambda: cpu, NPU)


def test_numpy_2_with_old_bindings_is_named(npu: Any, bundle: Path, cpu: Any) -> None:
    if np.__version__ < "2":
        pytest.skip("the double misreads sizes under NumPy 2")
    npu.set(numpy2_misread=True)
    with pytest.raises(ModelError, match="numpy<2"):
        open_encoder(bundle, lambda: cpu, NPU, patience=QUICK)


def test_no_hef_in_the_bundle(npu: Any, tmp_path: Path, cpu: Any) -> None:
    (tmp_path / "bundle.json").write_text("{}")
    with pytest.raises(ModelError, match="add-hef"):
        open_encoder(tmp_path, lambda: cpu, NPU)
    assert open_encoder(tmp_path, lambda: cpu, LoadOptions(encoder="auto")) is cpu


def test_a_changed_hef_is_not_used(npu: Any, bundle: Path, cpu: Any) -> None:
    path = bundle / "hailo" / "encoder-hailo8.hef"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ModelError, match="sha256"):
        open_encoder(bundle, lambda: cpu, NPU)


def test_two_encoders_of_a_process_share_the_device(
    npu: Any, bundle: Path, cpu: Any, windows: np.ndarray
) -> None:
    with opened(bundle, cpu) as one, opened(bundle, cpu) as two:
        jobs = [one.start(windows[:1]), two.start(windows[:1]), one.start(windows[1:2])]
        assert [(job.result(), job.backend)[1] for job in jobs] == ["hailo"] * 3
        two.close()
        job = one.start(windows[:1])
        job.result()
        assert (job.backend, one.stats()["reopens"]) == ("hailo", 0)
    with opened(bundle, cpu) as again:
        assert again.backend == "hailo"


def test_a_second_process_stands_by_on_the_cpu(npu: Any, bundle: Path, cpu: Any, windows: np.ndarray) -> None:
    import subprocess
    import sys
    import textwrap

    script = textwrap.dedent("""
        import sys, hailo_platform
        from asr_batch.models.hailo.device import acquire
        hold = acquire(hailo_platform, False)
        print("held", flush=True)
        sys.stdin.read()
    """)
    env = {**__import__("os").environ, "PYTHONPATH": str(Path(__file__).parent.parent / "fakes")}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with opened(bundle, cpu) as encoder:
            job = encoder.start(windows[:1])
            job.result()
            assert (encoder.backend, job.flags) == ("cpu", ("fallback_encoder",))
        other.communicate("")
    with opened(bundle, cpu) as encoder:
        assert encoder.backend == "hailo"


def test_the_service_is_an_option(npu: Any, bundle: Path, cpu: Any) -> None:
    shared = LoadOptions(encoder="hailo", npu_service=True)
    with pytest.raises(ModelError, match=r"hailort\.service"):
        open_encoder(bundle, lambda: cpu, shared)
    npu.set(service=True, held=["0000:01:00.0"])
    with opened(bundle, cpu, shared) as encoder:
        assert encoder.backend == "hailo"


def test_a_hef_of_another_model_is_refused(npu: Any, hef_file: Any, bundle: Path, cpu: Any) -> None:
    outputs = [{"name": "x/out", "shape": [1, 100, 48], "order": "NHWC"}]
    add_hef(bundle, hef_file("w.hef", outputs=outputs), cpu=lambda: cpu)
    with pytest.raises(ModelError, match="48"):
        open_encoder(bundle, lambda: cpu, NPU)


def test_the_encoder_is_what_the_seam_says() -> None:
    from asr_batch.models.encoder import Encoder, Monitored

    wanted = {name for name in vars(Encoder) if not name.startswith("_")}
    assert wanted <= set(dir(HailoEncoder))
    assert issubclass(HailoEncoder, Monitored)


def test_bundle_json_lists_the_hef(npu: Any, bundle: Path) -> None:
    data = json.loads((bundle / "bundle.json").read_text())
    assert data["format"] == 3
    assert [(e["file"], e["role"], e["arch"], e["compiler"]) for e in data["npu"]] == [
        ("hailo/encoder-hailo8.hef", "encoder", "hailo8", "3.31.0")
    ]


def test_a_window_may_ask_for_the_cpu(npu: Any, bundle: Path, cpu: Any, windows: np.ndarray) -> None:
    """It takes no frame of the NPU, and the NPU goes on with the next."""
    with opened(bundle, cpu) as encoder:
        frames = npu.frame()
        job = encoder.start(windows[:1], cpu=True)
        hidden = job.result()
        assert (job.backend, job.flags, npu.frame()) == ("cpu", ("fallback_encoder",), frames)
        np.testing.assert_array_equal(hidden, cpu.start(windows[:1]).result())
        job = encoder.start(windows[:1])
        job.result()
        assert (job.backend, encoder.backend, npu.frame()) == ("hailo", "hailo", frames + 1)

"""A Hailo-10H takes integers only: what stands between them and real values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asr_batch.manifests.errors import ModelError
from asr_batch.models.hailo.api import open_encoder
from asr_batch.models.hailo.bundle import add_hef
from asr_batch.models.hailo.quantised import Quantisation
from asr_batch.models.recognizer import LoadOptions

TENH = {"version": "5.2.0", "devices": [{"id": "0000:01:00.0", "arch": "HAILO10H"}]}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_there_and_back_is_within_half_a_step(dtype: Any) -> None:
    most = np.iinfo(dtype).max
    quantisation = Quantisation(4.0 / most, most / 4, dtype)
    values = np.linspace(-0.99, 2.99, 997, dtype=np.float32).reshape(1, 997)
    stored, back = np.zeros(values.shape, dtype), np.zeros_like(values)
    quantisation.store(values, stored)
    quantisation.restore(stored, back)
    assert np.abs(back - values).max() <= 0.51 * quantisation.scale
    quantisation.store(np.full_like(values, 1e9), stored)
    assert (stored == most).all()
    quantisation.store(np.full_like(values, -1e9), stored)
    assert (stored == 0).all()


@pytest.mark.parametrize("infos", [[], [SimpleNamespace(qp_zp=0.0, qp_scale=0.0)], [1, 2]])
def test_a_hef_that_does_not_tell_is_refused(infos: list[Any]) -> None:
    with pytest.raises(ModelError, match="no usable quantisation"):
        Quantisation.of(SimpleNamespace(name="x", quant_infos=infos), np.uint8)


def test_the_double_takes_no_floats_on_a_10h(npu: Any, hef_file: Any) -> None:
    npu.set(**TENH)
    import hailo_platform

    vdevice = hailo_platform.VDevice()
    model = vdevice.create_infer_model(str(hef_file(arch="HAILO10H")))
    model.input().set_format_type(hailo_platform.FormatType.FLOAT32)
    with pytest.raises(Exception, match="failed with error: 7"):
        model.configure()
    vdevice.release()


@pytest.mark.parametrize("kind", ["UINT8", "UINT16"])
def test_windows_pass_a_10h_as_stored_values(
    kind: str, npu: Any, hef_file: Any, bundle: Any, cpu: Any, windows: np.ndarray
) -> None:
    npu.set(**TENH, snr_db=60)
    wide = kind == "UINT16"
    out = {"name": "o", "shape": [1, 100, 32], "type": kind, "scale": 0.0002 if wide else 0.05}
    out["zp"] = 32768 if wide else 128
    add_hef(bundle, hef_file("ten.hef", arch="HAILO10H", outputs=[out]), cpu=lambda: cpu)
    encoder = open_encoder(bundle, lambda: cpu, LoadOptions(encoder="hailo"))
    hidden = encoder.start(windows).result()
    expected = cpu.start(windows).result()
    assert encoder.backend == "hailo"
    encoder.close()
    close = float((hidden * expected).sum() / np.linalg.norm(hidden) / np.linalg.norm(expected))
    assert close > 0.97

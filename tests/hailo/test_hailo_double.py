"""The double has the names, parameters, defaults and exceptions of the contract's table, by version."""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

API = json.loads((Path(__file__).parent.parent / "data" / "hailo_api.json").read_text())
VERSIONS = API["version_sets"]["all"]
CLASSES = {
    "HEF", "VDevice", "Device", "InferModel", "ConfiguredInferModel", "AsyncInferJob",
    "AsyncInferCompletionInfo", "Control", "BoardInformation", "ExceptionWrapper",
}  # fmt: skip
PRIVATE = {"_get_health_information"}


def known(versions: str, version: str) -> bool:
    return version in API["version_sets"].get(versions, versions.split(","))


def table(version: str) -> dict[str, dict[str, Any]]:
    """Callable symbols of the imitated classes in one version."""
    return {
        name: entry
        for name, entries in API["symbols"].items()
        for entry in entries
        if name.split(".")[0] in CLASSES and known(entry["versions"], version)
        if not name.split(".")[-1].startswith("_") or name.split(".")[-1] == "__init__"
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_the_double_is_the_table(version: str, npu: Any) -> None:
    npu.set(version=version)
    package = import_module("hailo_platform")
    inner = import_module("hailo_platform.pyhailort.pyhailort")
    assert package.__version__ == package.pyhailort._pyhailort.__version__ == version
    for name, entry in API["top_level_exports"].items():
        assert hasattr(package, name) == known(entry["versions"], version), name
    for name, entry in table(version).items():
        found: Any = inner
        for part in name.split("."):
            found = inspect.getattr_static(found, part)
        check(name, entry, found)


def check(name: str, entry: dict[str, Any], found: Any) -> None:
    kind = entry["kind"]
    if kind == "class":
        assert inspect.isclass(found), name
    elif kind == "property":
        assert isinstance(found, property), name
    else:
        assert isinstance(found, staticmethod) == (kind == "staticmethod"), name
        assert isinstance(found, classmethod) == (kind == "classmethod"), name
        function = getattr(found, "__func__", found)
        params = list(inspect.signature(function).parameters.values())
        own = params if kind == "staticmethod" else params[1:]
        assert [p.name for p in own] == [p["name"] for p in entry["params"]], name
        assert [p.kind.name.lower() for p in own] == [p["kind"] for p in entry["params"]], name
        for mine, theirs in zip(own, entry["params"], strict=True):
            has = mine.default is not inspect.Parameter.empty
            if has != ("default" in theirs):
                pytest.fail(f"{name}: default of {mine.name}")
            if has and theirs["default"] in ("None", "''", "1000", "1", "False"):
                assert repr(mine.default) == theirs["default"], name


@pytest.mark.parametrize("version", VERSIONS)
def test_exceptions_are_those_of_the_version(version: str, npu: Any) -> None:
    npu.set(version=version)
    inner = import_module("hailo_platform.pyhailort.pyhailort")
    native = import_module("hailo_platform.pyhailort._pyhailort")
    for name, entries in API["exceptions"]["python_classes"].items():
        there = any(known(entry["versions"], version) for entry in entries)
        assert hasattr(inner, name) == there, name
    for one in API["exceptions"]["native_classes"][version]:
        base = "HailoRTException" if "native" in one["base"] else "Exception"
        assert getattr(native, one["name"]).__bases__[0].__name__ == base
    assert (inner.HailoRTException is native.HailoRTException) == (version == "5.2.0")
    for entry in API["exceptions"]["status_to_exception"]:
        if known(entry["versions"], version):
            code = API["hailo_status_codes"][entry["hailo_status"]]["value"]
            raised = inner.ExceptionWrapper.create_exception_from_status(code)
            assert type(raised).__name__ == entry["class"]
    other = inner.ExceptionWrapper.create_exception_from_status(74)
    assert str(other) == "libhailort failed with error: 74 (HAILO_OUT_OF_PHYSICAL_DEVICES)"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_default_scheduler_is_that_of_the_version(version: str, npu: Any) -> None:
    npu.set(version=version)
    package = import_module("hailo_platform")
    default = package.VDevice.create_params().scheduling_algorithm
    told = API["vdevice_create_params_default_scheduling_algorithm"][version].split()[0]
    assert default == package.HailoSchedulingAlgorithm[told]
    assert type(default) is int


def open_model(hef: Path, scheduler: str = "ROUND_ROBIN") -> Any:
    package = import_module("hailo_platform")
    params = package.VDevice.create_params()
    params.scheduling_algorithm = package.HailoSchedulingAlgorithm[scheduler]
    vdevice = package.VDevice(params)
    model = vdevice.create_infer_model(str(hef))
    for stream in (model.input(), model.output()):
        stream.set_format_type(package.FormatType.FLOAT32)
    return package, vdevice, model


def bound(configured: Any, model: Any) -> tuple[Any, Any]:
    import numpy as np

    bindings = configured.create_bindings()
    output = np.zeros(model.output().shape, np.float32)
    bindings.input().set_buffer(np.zeros(model.input().shape, np.float32))
    bindings.output().set_buffer(output)
    return bindings, output


def test_failures_reach_only_the_callback(npu: Any, hef_file: Any) -> None:
    """Without a scheduler and without activate(), run() succeeds over garbage; the callback knows better."""
    _, vdevice, model = open_model(hef_file(), "NONE")
    configured = model.configure()
    bindings, output = bound(configured, model)
    configured.run([bindings], 1000)
    assert not output.any()
    seen = []
    job = configured.run_async([bindings], callback=lambda completion_info: seen.append(completion_info))
    job.wait(1000)
    assert "72" in str(seen[0].exception)
    configured.activate()
    configured.run([bindings], 1000)
    assert output.any()
    configured.__exit__(None, None, None)
    with pytest.raises(AttributeError):
        configured.create_bindings()
    vdevice.release()


def test_a_wrong_size_kills_the_model_and_shape_is_not_looked_at(npu: Any, hef_file: Any) -> None:
    import numpy as np

    _, vdevice, model = open_model(hef_file())
    inner = import_module("hailo_platform.pyhailort.pyhailort")
    assert model.input().shape == [1, 200, 80]
    configured = model.configure()
    bindings, _ = bound(configured, model)
    bindings.input().set_buffer(np.zeros((80, 200), np.int32))  # same bytes: taken
    configured.run_async([bindings]).wait(1000)
    with pytest.raises(inner.HailoRTException, match="C_CONTIGUOUS"):
        bindings.input().set_buffer(np.zeros((80, 200), np.float32).T)
    with pytest.raises(ValueError, match="writeable"):
        bindings.input().set_buffer(np.broadcast_to(np.float32(0), (1, 1, 1)))
    kept = np.zeros(7, np.float32)
    bindings.input().set_buffer(kept)
    assert bindings.input().get_buffer() is kept
    with pytest.raises(inner.HailoRTInvalidOperationException):
        configured.run_async([bindings])
    good, _ = bound(configured, model)
    with pytest.raises(inner.HailoRTStreamAborted):
        configured.run_async([good])
    del configured
    vdevice.release()


def test_absent_and_busy_are_both_74_and_scan_tells(npu: Any) -> None:
    package = import_module("hailo_platform")
    first = package.VDevice()
    with pytest.raises(package.HailoRTException, match="74"):
        package.VDevice()
    assert package.Device.scan() == ["0000:01:00.0"]
    first.release()
    npu.set(devices=[])
    with pytest.raises(package.HailoRTException, match="74"):
        package.VDevice()
    assert package.Device.scan() == []


@pytest.mark.parametrize(
    ("version", "name"),
    [("4.20.0", "HailoRTInvalidHEFException"), ("4.23.0", "HailoRTHEFNotCompatibleWithDevice")],
)
def test_the_wrong_chip_is_told_at_configure(version: str, name: str, npu: Any, hef_file: Any) -> None:
    npu.set(version=version)
    _, vdevice, model = open_model(hef_file(arch="HAILO10H"))
    with pytest.raises(Exception) as caught:
        model.configure()
    assert type(caught.value).__name__ == name
    vdevice.release()


def test_a_timeout_leaves_the_job_in_flight(npu: Any, hef_file: Any) -> None:
    inner = import_module("hailo_platform.pyhailort.pyhailort")
    _, vdevice, model = open_model(hef_file())
    configured = model.configure()
    npu.fault("slow", seconds=0.3)
    bindings, _ = bound(configured, model)
    job = configured.run_async([bindings])
    with pytest.raises(inner.HailoRTTimeout):
        job.wait(50)
    job.wait(2000)
    vdevice.release()


def test_native_exceptions_leak_where_the_original_leaks(npu: Any, hef_file: Any) -> None:
    package = import_module("hailo_platform")
    hef = package.HEF(str(hef_file()))
    with pytest.raises(Exception) as caught:
        hef.get_input_vstream_infos("nothing")
    assert type(caught.value).__name__ == "HailoRTStatusException"
    assert not isinstance(caught.value, package.HailoRTException)
    with pytest.raises(TypeError):
        package.VDevice().create_infer_model(hef_file())

"""Temperature, clock and counters of the NPU reach the node table, the metrics and `status`."""

from __future__ import annotations

from asr_batch.jobs.console.metrics import render
from asr_batch.jobs.dataset.summary import Summary
from asr_batch.jobs.views.state import npu_text
from asr_batch.workers.pool import NodeStatus
from asr_batch.workers.status import npu_of

ONE = {"npu_windows": 40.0, "cpu_windows": 2.0, "retries": 1.0, "temperature": 61.0, "clock_mhz": 400.0}
OTHER = {"npu_windows": 10.0, "cpu_windows": 0.0, "retries": 0.0, "temperature": 72.0, "clock_mhz": 800.0}


def test_counts_add_up_and_the_worst_reading_is_told() -> None:
    both = npu_of([ONE, OTHER])
    assert (both["npu_windows"], both["temperature"], both["clock_mhz"]) == (50.0, 72.0, 400.0)
    assert npu_of([]) == {}


def test_metrics_name_node_and_reading() -> None:
    nodes = [NodeStatus(name, "", True, 1, "hailo", npu=npu) for name, npu in (("pi4", ONE), ("pi5", {}))]
    text = render(Summary(dataset="d", nodes=tuple(nodes)))
    assert 'asr_batch_node_npu{dataset="d",node="pi4",what="temperature"} 61.0' in text
    assert 'node="pi5",what=' not in text


def test_status_has_a_line() -> None:
    assert npu_text(ONE) == "NPU encoded 40 windows, the CPU 2, 61 °C, 400 MHz, 1 recoveries"
    assert npu_text({"quarantined": 1.0}).endswith("quarantined")

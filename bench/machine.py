"""What the machine can do: integer and float32 matrix products through ONNX Runtime, memory bandwidth."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper


def timed(run: Callable[[], object], rounds: int = 15) -> float:
    """Median seconds of `run`."""
    run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _product(int8: bool, m: int, k: int, n: int, threads: int) -> float:
    rng = np.random.default_rng(0)
    kind = TensorProto.UINT8 if int8 else TensorProto.FLOAT
    weight = rng.integers(-127, 127, (k, n)).astype(np.int8) if int8 else rng.random((k, n), np.float32)
    x = rng.integers(0, 255, (m, k)).astype(np.uint8) if int8 else rng.random((m, k), np.float32)
    node = helper.make_node("MatMulInteger" if int8 else "MatMul", ["x", "w"], ["y"])
    out = TensorProto.INT32 if int8 else TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", kind, [m, k])],
        [helper.make_tensor_value_info("y", out, [m, n])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return 2 * m * k * n / timed(lambda: session.run(None, {"x": x})) / 1e9


def peaks(threads: int) -> dict[str, float]:
    """GOP/s of int8 and float32 products (1024 x 1536 x 1536) and GB/s of reading memory."""
    data = np.ones(1 << 26, np.float32)
    return {
        "int8_gops": _product(True, 1024, 1536, 1536, threads),
        "fp32_gflops": _product(False, 1024, 1536, 1536, threads),
        "read_gbs": data.nbytes / timed(data.max, 5) / 1e9,
    }


def encoder_operations(d: int, layers: int, positions: int, n_mels: int = 80) -> float:
    """Operations (a multiply and an add count two) of one window in the encoder."""
    linear = positions * (4 * d * d + 8 * d * d)
    attention = 2 * positions * positions * d
    stem = 2 * positions * 3 * n_mels * d + positions * 3 * d * d
    return 2.0 * (layers * (linear + attention) + stem)


def token_operations(d: int, layers: int, positions: int, vocab: int) -> float:
    """Operations of one token of one window in the decoder, self-attention left out."""
    return 2.0 * (layers * (14 * d * d + 2 * positions * d) + vocab * d)

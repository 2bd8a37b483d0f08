"""Silero's voice activity network (v6, 16 kHz) as one ONNX graph over many chunks.

The computation is that of ggml's Silero graph: the chunk is extended by reflecting 64 samples at both
ends, then a Fourier basis of 256 samples in steps of 128, four convolutions, one LSTM cell over the
chunks, a sigmoid. Inputs of matrix products are rounded to float16 as in ggml: without it, the
probabilities change by 0.01. No value approaches the limit of float16: noise and square waves at full
scale reach 214, and the reader clips at four times that.

Two things are computed in another order, to save multiplications. The cosines of the basis are symmetric
around the middle of their 256 samples and the sines antisymmetric, so sums and differences of mirrored
samples halve them. The first convolution, the largest part, uses Winograd's F(2, 3): two outputs of three
taps from four products (Lavin and Gray 2015, https://arxiv.org/abs/1509.09308).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.onnx import writer as wire
from asr_batch.models.silero.network import CHUNK, WIDTH

Float32 = NDArray[np.float32]

_EDGE, _HALF, _BINS = 64, 128, 129
_OPSET = 17
_STATE = (1, 1, WIDTH)
_INPUTS: dict[str, Sequence[int | str]] = {"chunks": ("n", CHUNK), "hidden": _STATE, "cell": _STATE}
_OUTPUTS: dict[str, Sequence[int | str]] = {
    "chances": ("n", 1),
    "hidden_after": _STATE,
    "cell_after": _STATE,
}
_LSTM, _ENCODER, _LAST = "_model.decoder.rnn.", "_model.encoder.", "_model.decoder.decoder.2."


def silero_graph(tensors: Mapping[str, Float32]) -> bytes:
    """The ONNX model of the network with the weights `tensors`, by their names in the ggml file.

    Inputs `chunks` [n, 512], `hidden` and `cell` [1, 1, 128]; outputs `chances` [n, 1], `hidden_after`,
    `cell_after`.
    """
    writer = _Writer()
    for name, shape in _INPUTS.items():
        writer.graph.inputs.append(wire.make_value(name, wire.FLOAT_TYPE, shape))
    magnitudes = _spectrum(writer, tensors["_model.stft.forward_basis_buffer"][:, 0].T)
    _lstm(writer, tensors, _convolutions(writer, tensors, magnitudes))
    for name, shape in _OUTPUTS.items():
        writer.graph.outputs.append(wire.make_value(name, wire.FLOAT_TYPE, shape))
    return writer.graph.raw()


class _Writer:
    """Appends nodes and constants to a graph; values are referred to by name."""

    def __init__(self) -> None:
        self.graph = wire.GraphParts(opsets=[wire.make_opset("", _OPSET)])

    def constant(self, array: Float32) -> str:
        """Name of a new constant float32 tensor."""
        return self._tensor(wire.FLOAT_TYPE, array.shape, np.ascontiguousarray(array, "<f4").tobytes())

    def _integers(self, *values: int) -> str:
        return self._tensor(wire.INT64_TYPE, [len(values)], np.array(values, "<i8").tobytes())

    def _tensor(self, kind: int, shape: tuple[int, ...] | list[int], data: bytes) -> str:
        name = f"constant{len(self.graph.tensors)}"
        self.graph.tensors[name] = wire.make_tensor(name, kind, shape, data)
        return name

    def op(self, kind: str, *inputs: str, out: tuple[str, ...] = (), **attributes: int) -> str:
        """Append a node; the name of its first output."""
        out = out or (f"{kind}{len(self.graph.nodes)}",)
        raw = tuple(wire.make_attribute(name, value) for name, value in attributes.items())
        self.graph.nodes.append(wire.Node(kind, inputs, out, "", raw))
        return out[0]

    def rounded(self, value: str) -> str:
        """`value` with the precision of float16."""
        half = self.op("Cast", value, to=wire.FLOAT16_TYPE)
        return self.op("Cast", half, to=wire.FLOAT_TYPE)

    def shaped(self, value: str, *shape: int) -> str:
        """Reshape a value."""
        return self.op("Reshape", value, self._integers(*shape))

    def rows(self, value: str, width: int) -> str:
        """Reshape a value to [any, width]."""
        return self.shaped(value, -1, width)

    def columns(self, value: str, start: int, stop: int, step: int = 1) -> str:
        """Columns of [any, width]; in reverse with a negative `step`."""
        bounds = (self._integers(start), self._integers(stop), self._integers(1), self._integers(step))
        return self.op("Slice", value, *bounds)

    def padded(self, value: str, before: int, after: int) -> str:
        """[any, width] with columns of zeros at both ends."""
        return self.op("Pad", value, self._integers(0, before, 0, after))

    def product(self, rows: str, matrix: Float32) -> str:
        """`rows` times the constant `matrix`."""
        return self.op("MatMul", rows, self.constant(matrix))


def _spectrum(w: _Writer, basis: Float32) -> str:
    """Magnitudes [4 n, 129], rounded, of the four frames of each chunk."""
    chunks = w.rounded("chunks")
    before = w.columns(chunks, _EDGE, 0, -1)
    after = w.columns(chunks, CHUNK - 2, CHUNK - 2 - _EDGE, -1)
    signal = w.op("Concat", before, chunks, after, axis=1)
    # samples 1 to 128 of each frame, and 255 to 128, which mirror them; sample 0 has weight 0
    forward = w.rows(w.columns(signal, 1, 1 + CHUNK), _HALF)
    backward = w.columns(w.rows(w.columns(signal, _HALF, _HALF + CHUNK), _HALF), -1, -1 - _HALF, -1)
    cosines, sines = basis[1 : 1 + _HALF, :_BINS].copy(), basis[1 : 1 + _HALF, _BINS:]
    cosines[-1] /= 2  # sample 128 mirrors itself
    real = w.product(w.op("Add", forward, backward), cosines)
    imaginary = w.product(w.op("Sub", forward, backward), sines)
    power = w.op("Add", w.op("Mul", real, real), w.op("Mul", imaginary, imaginary))
    return w.rounded(w.op("Sqrt", power))


def _convolutions(w: _Writer, tensors: Mapping[str, Float32], magnitudes: str) -> str:
    """[n, 128] from `magnitudes`: four convolutions of three taps, with one zero at each end."""
    (k0, b0), (k1, b1), (k2, b2), (k3, b3) = (_kernel(w, tensors, index) for index in range(4))
    four = w.rounded(w.op("Relu", _winograd(w, magnitudes, k0, b0)))  # [2 n, 256]: four steps of 128
    spread = w.padded(w.rows(four, 4 * WIDTH), WIDTH, 0)
    pair = [w.columns(spread, 0, 3 * WIDTH), w.columns(spread, 2 * WIDTH, 5 * WIDTH)]
    two = w.op("Add", w.product(w.rows(w.op("Concat", *pair, axis=1), 3 * WIDTH), np.concatenate(k1)), b1)
    # two steps of 64 are left, then one: taps that would only meet zeros are left out
    one = w.op("Add", w.product(w.rows(w.rounded(w.op("Relu", two)), WIDTH), np.concatenate(k2[1:])), b2)
    return w.op("Relu", w.op("Add", w.product(w.rounded(w.op("Relu", one)), k3[1]), b3))


def _kernel(w: _Writer, tensors: Mapping[str, Float32], index: int) -> tuple[Float32, str]:
    """Taps [3, in, out] and the name of the bias [out]."""
    name = f"{_ENCODER}{index}.reparam_conv."
    return tensors[name + "weight"].transpose(2, 1, 0), w.constant(tensors[name + "bias"])


def _winograd(w: _Writer, magnitudes: str, kernel: Float32, bias: str) -> str:
    """The first convolution, stride 1, before its ReLU: [2 n, 2 * 128] from [4 n, 129]."""
    first, second = f"{magnitudes}.first", f"{magnitudes}.second"
    w.op("Split", w.shaped(magnitudes, -1, 2, 2, _BINS), axis=2, out=(first, second))
    even, odd = w.rows(first, 2 * _BINS), w.rows(second, 2 * _BINS)  # steps 0 and 2, steps 1 and 3
    earlier = w.padded(w.columns(odd, 0, _BINS), _BINS, 0)  # the step before each pair
    later = w.padded(w.columns(even, _BINS, 2 * _BINS), 0, _BINS)  # the step after it

    def product(kind: str, left: str, right: str, taps: Float32) -> str:
        return w.product(w.rows(w.op(kind, left, right), _BINS), taps)

    outer, middle = kernel[0] + kernel[2], kernel[1]
    p1 = w.op("Add", product("Sub", earlier, odd, kernel[0]), bias)
    p2 = product("Add", even, odd, (outer + middle) / 2)
    p3 = product("Sub", odd, even, (outer - middle) / 2)
    p4 = w.op("Add", product("Sub", later, even, kernel[2]), bias)
    return w.op("Concat", w.op("Add", w.op("Add", p1, p2), p3), w.op("Add", w.op("Sub", p2, p3), p4), axis=1)


def _lstm(w: _Writer, tensors: Mapping[str, Float32], inputs: str) -> None:
    """The LSTM over `inputs` [n, 128], and the probability of each of its states."""
    gates = [tensors[_LSTM + name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    onto, back, *biases = map(_reordered, gates)
    weights = [w.constant(one[None]) for one in (onto, back, np.concatenate(biases))]
    sequence = w.shaped(inputs, -1, 1, WIDTH)
    outputs = ("states", "hidden_after", "cell_after")
    w.op("LSTM", sequence, *weights, "", "hidden", "cell", out=outputs, hidden_size=WIDTH)
    heard = w.product(w.op("Relu", w.rows("states", WIDTH)), tensors[_LAST + "weight"].reshape(WIDTH, 1))
    bias = w.constant(tensors[_LAST + "bias"].reshape(1))
    w.op("Sigmoid", w.op("Add", heard, bias), out=("chances",))


def _reordered(gates: Float32) -> Float32:
    """PyTorch's input, forget, cell, output to ONNX's input, output, forget, cell, along the first axis."""
    first, forget, cell, last = np.split(gates, 4)
    return np.concatenate([first, last, forget, cell])

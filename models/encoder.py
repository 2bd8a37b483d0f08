"""The encoder interface of the Whisper family: log-mel windows in, hidden states out; CPU or NPU.

It is asynchronous, because an NPU works while the CPU decodes: `start` submits a batch,
`EncoderJob.result` waits for it. A CPU encoder computes on its own threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


class EncoderJob(Protocol):
    """A batch of windows being encoded."""

    def done(self) -> bool:
        """Whether `result` returns without waiting."""

    def result(self) -> Float32:
        """Hidden states [batch, positions, width], float32.

        Raises RetryableError (the same windows may be submitted again) or WorkerFatalError.
        """

    @property
    def backend(self) -> str:
        """What encoded this batch, `cpu` or `hailo`; known once `result` has returned."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags for each window of the batch: `fallback_encoder` if the CPU replaced an NPU."""


class Encoder(Protocol):
    """Encodes windows: an NPU's network windows of one length, a CPU of any length."""

    @property
    def backend(self) -> str:
        """`cpu` or `hailo`: the current backend (`cpu` after an NPU was given up)."""

    @property
    def frames(self) -> int | None:
        """Log-mel frames that a window must have (100 per second: 1000 for 10 s); None: any even number."""

    @property
    def n_mels(self) -> int:
        """Mel bins: 80 or 128."""

    @property
    def depth(self) -> int:
        """Jobs that may be in flight so that the device never waits (1 on a CPU)."""

    @property
    def max_batch(self) -> int:
        """Maximum batch size of one job (1 if the device takes single windows)."""

    def start(self, log_mel: Float32, *, cpu: bool = False) -> EncoderJob:
        """Encode `log_mel` [batch, n_mels, frames], float32, C-contiguous; one window per row.

        `cpu`: use the CPU even if there is an NPU; windows may then have any length.
        """

    def confirm(self) -> bool:
        """See `Recognizer.confirm`."""

    def close(self) -> None:
        """Release the device."""


@runtime_checkable
class Monitored(Protocol):
    """An encoder or recognizer with readings for `status` and the metrics (such as an NPU)."""

    def stats(self) -> Mapping[str, float]:
        """Counters and readings by name: `jobs`, `retries`, `temperature`, `clock_mhz`, ..."""

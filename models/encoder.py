"""The seam inside the Whisper family: log-mel windows in, encoder hidden states out; CPU or NPU.

Asynchronous, because an NPU works while the CPU decodes: `start` hands a batch over, `EncoderJob.result`
waits for it. A CPU encoder computes on threads of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


class EncoderJob(Protocol):
    """A batch of windows on its way through the encoder."""

    def done(self) -> bool:
        """Whether `result` returns without waiting."""

    def result(self) -> Float32:
        """Hidden states [batch, positions, width], float32.

        Raises RetryableError (the same windows may be started again) or WorkerFatalError.
        """

    @property
    def backend(self) -> str:
        """What encoded this batch, `cpu` or `hailo`; known once `result` returned. Goes with each window."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags for each window of the batch: `fallback_encoder` when the CPU stood in for an NPU."""


class Encoder(Protocol):
    """Encodes windows: an NPU's network those of one length, a CPU any."""

    @property
    def backend(self) -> str:
        """`cpu` or `hailo`: what encodes now (an NPU that was given up says `cpu` from then on)."""

    @property
    def frames(self) -> int | None:
        """Log-mel frames that a window must have (100 a second: 1000 for 10 s); None: as many as it needs, an
        even number up to the model's length.
        """

    @property
    def n_mels(self) -> int:
        """Mel bins: 80 or 128."""

    @property
    def depth(self) -> int:
        """How many jobs may be in flight so that the device never waits (1 on a CPU)."""

    @property
    def max_batch(self) -> int:
        """The largest batch of one job (1 where a device takes single windows)."""

    def start(self, log_mel: Float32, *, cpu: bool = False) -> EncoderJob:
        """Encode `log_mel` [batch, n_mels, frames], float32, C-contiguous; each row one window.

        `cpu`: not on the NPU, whatever encodes otherwise, and then of any length.
        """

    def confirm(self) -> bool:
        """See `Recognizer.confirm`."""

    def close(self) -> None:
        """Release the device."""


@runtime_checkable
class Monitored(Protocol):
    """An encoder or recognizer with something to tell to `status` and the metrics (an NPU has)."""

    def stats(self) -> Mapping[str, float]:
        """Counters and readings by name: `jobs`, `retries`, `temperature`, `clock_mhz`, ..."""

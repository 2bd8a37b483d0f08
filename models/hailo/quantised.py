"""Integer buffers of a HEF's stream: a Hailo-10H takes and gives nothing else through InferModel.

Real value = (stored value - zero point) * scale, as HailoRT's `quant_infos` define it; on a Hailo-8 HailoRT
does this itself where a stream is set to FLOAT32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.errors import ModelError
from asr_batch.models.encoder import Float32

Stored = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How one stream stores real values: `dtype` is uint8 or uint16."""

    scale: float
    zero: float
    dtype: type[np.uint8] | type[np.uint16]

    @classmethod
    def of(cls, native: Any, dtype: type[np.uint8] | type[np.uint16]) -> Quantisation:
        """Read it from an InferModel's stream. Raises ModelError where the HEF does not tell."""
        infos = list(native.quant_infos)
        scale = float(infos[0].qp_scale) if len(infos) == 1 else 0.0
        if not scale > 0.0:
            raise ModelError(
                f"HEF stream {native.name}: no usable quantisation ({len(infos)} entries, scale {scale:g}); "
                "compile it again with the vendor's compiler"
            )
        return cls(scale, float(infos[0].qp_zp), dtype)

    def store(self, values: Float32, into: Stored) -> None:
        """Round `values` into a buffer of the same shape; what is out of range becomes the nearest end."""
        most = np.iinfo(self.dtype).max
        into[...] = np.clip(np.rint(values / self.scale + self.zero), 0, most)

    def restore(self, stored: Stored, into: Float32) -> None:
        """The real values of a buffer."""
        np.subtract(stored, np.float32(self.zero), out=into, dtype=np.float32)
        into *= np.float32(self.scale)

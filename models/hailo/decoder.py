"""The fixed-length decoder on the NPU: a whole sequence in, logits of every position out, no cache.

The HEF has two inputs (hidden states, token embeddings) and splits the vocabulary over several outputs. The
inputs are told apart by shape; the order of the outputs comes from the HEF. The host looks up the token
embeddings, and adds the learned positions on Hailo-8 and 8L (on a Hailo-10H the HEF adds them).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from asr_batch.manifests.errors import ModelError, WorkerFatalError
from asr_batch.models.encoder import Float32
from asr_batch.models.hailo.faults import NpuError, Rung
from asr_batch.models.hailo.layout import Layout, layout
from asr_batch.models.hailo.session import Session, Stream
from asr_batch.models.hailo.slots import Frame, Slot

log = logging.getLogger(__name__)
DEADLINE = 10.0


class NpuDecoder:
    """Logits of a token sequence over hidden states. Not thread-safe."""

    def __init__(self, session: Session, kit: Path, positions: int) -> None:
        """Match the HEF's streams with the tables of the bundle. Raises ModelError."""
        self._session = session
        self._table, self._learned = _tables(kit)
        self._positions = positions
        self._slot: Slot | None = None
        device = session.hold.arch if session.hold is not None else ""
        self.adds_positions = device.startswith("hailo8")
        self.tokens = _tokens(session.outputs)
        self._read_streams()

    def _read_streams(self) -> None:
        width = self._table.shape[1]
        inputs = self._session.inputs
        if len(inputs) != 2:
            raise ModelError(f"the HEF has {len(inputs)} inputs; a decoder has two: hidden states and tokens")
        sizes = [int(np.prod(stream.shape)) for stream in inputs]
        first_is_hidden = sizes[0] == self._positions * width
        hidden, tokens = inputs if first_is_hidden else reversed(inputs)
        self._hidden = layout(hidden.name, hidden.shape, hidden.order, self._positions, width)
        self._embedded = layout(tokens.name, tokens.shape, tokens.order, self.tokens, width)
        by_name = {stream.name: stream for stream in self._session.outputs}
        ordered = [by_name[name] for name in self._session.sorted_outputs() if name in by_name]
        self._parts: list[Layout] = [
            layout(one.name, one.shape, one.order, self.tokens, _columns(one, self.tokens)) for one in ordered
        ]
        if (total := sum(part.columns for part in self._parts)) != len(self._table):
            raise ModelError(
                f"the HEF's outputs hold {total} tokens, the model's vocabulary has {len(self._table)}; "
                "the HEF was compiled from another model"
            )

    def logits(self, hidden: Float32, ids: list[int]) -> Float32:
        """Logits [tokens, vocabulary] for `ids`, padded with zeros, over `hidden` [positions, width].

        Raises WorkerFatalError when the NPU has failed four times.
        """
        padded = np.zeros(self.tokens, np.int64)
        padded[: len(ids)] = ids
        embedded = self._table[padded]
        if self.adds_positions:
            embedded = embedded + self._learned[: self.tokens]
        fault: NpuError | None = None
        for attempt in range(4):
            try:
                self._recover(fault, attempt)
                return self._run(hidden, embedded)
            except NpuError as error:
                log.warning("%s", error)
                fault = error
        raise WorkerFatalError(f"the decoder on the NPU failed four times: {fault}") from fault

    def _recover(self, fault: NpuError | None, attempt: int) -> None:
        if fault is None or (fault.rung is Rung.JOB and attempt == 1):
            return
        self._slot = None
        if fault.rung >= Rung.DEVICE or attempt == 3:
            try:
                self._session.reopen()
            except ModelError as error:
                raise NpuError(Rung.NONE, str(error)) from error
        else:
            self._session.configure()

    def _run(self, hidden: Float32, embedded: Float32) -> Float32:
        if self._slot is None:
            inputs = {one.name: one.buffer() for one in (self._hidden, self._embedded)}
            self._slot = self._session.slot(inputs, {one.name: one.buffer() for one in self._parts})
        slot = self._slot
        np.copyto(self._hidden.matrix(slot.inputs[self._hidden.name]), hidden)
        np.copyto(self._embedded.matrix(slot.inputs[self._embedded.name]), embedded)
        frame: Frame = self._session.submit(slot, DEADLINE)
        try:
            frame.wait(DEADLINE)
        except NpuError:
            self._slot = None  # a frame that may still be in flight keeps its buffers
            raise
        return np.concatenate([part.matrix(slot.outputs[part.name]) for part in self._parts], axis=1)

    def close(self) -> None:
        """Release the device."""
        self._slot = None
        self._session.close()


def _tokens(outputs: list[Stream]) -> int:
    """The sequence length: the axis size that all outputs share."""
    axes = [{size for size in stream.shape if size != 1} for stream in outputs]
    shared = set.intersection(*axes) if axes else set()
    if len(shared) > 1:
        shared = {min(shared)}
    if not shared:
        shapes = ", ".join(str(stream.shape) for stream in outputs)
        raise ModelError(f"the HEF's outputs {shapes} share no sequence length; expected a Whisper decoder")
    return shared.pop()


def _columns(stream: Stream, tokens: int) -> int:
    return int(np.prod(stream.shape)) // tokens


def _tables(kit: Path) -> tuple[Float32, Float32]:
    try:
        table: Any = np.load(kit / "token_embedding.npy", mmap_mode="r")
        return table, np.load(kit / "positions.npy")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{kit}: a decoder on the NPU needs token_embedding.npy and positions.npy ({error}); compile the "
            "bundle with `--target`"
        ) from error

"""Reads the Protocol Buffers wire format, as far as an ONNX file needs it, without the onnx package.

Sizes claimed by the file are compared with the available bytes before use, and tensor data are skipped.
Format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

from asr_batch.manifests.errors import ModelError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Message:
    """The bytes `buffer[start:end]` of one message."""

    buffer: bytes | mmap.mmap
    start: int
    end: int

    def fields(self) -> Iterator[Field]:
        """All fields in order. Raises ModelError if the bytes are not valid protobuf."""
        at = self.start
        while at < self.end:
            key, at = _varint(self.buffer, at, self.end)
            number, wire = key >> 3, key & 7
            if wire == VARINT:
                value, at = _varint(self.buffer, at, self.end)
                yield Field(number, value, None)
            elif wire == BYTES:
                length, at = _varint(self.buffer, at, self.end)
                if length > self.end - at:
                    raise _broken(at)
                yield Field(number, length, Message(self.buffer, at, at + length))
                at += length
            elif wire in (FIXED64, FIXED32):
                at += 8 if wire == FIXED64 else 4
                yield Field(number, 0, None)
            else:
                raise _broken(at)
        if at != self.end:
            raise _broken(at)

    def all(self, number: int) -> list[Message]:
        """The messages of the fields with this number."""
        return [item.message() for item in self.fields() if item.number == number]

    def raw(self) -> bytes:
        """The bytes of the stretch."""
        return bytes(self.buffer[self.start : self.end])

    def text(self, limit: int = 4096) -> str:
        """The bytes as text; raises ModelError if they are longer than any valid name."""
        if self.end - self.start > limit:
            raise ModelError(f"a name of {self.end - self.start} bytes; expected at most {limit}")
        return self.raw().decode("utf-8", errors="replace")

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its number, its integer (varints) or length, and its message or bytes."""

    number: int
    value: int
    body: Message | None

    def message(self) -> Message:
        """The nested message or bytes; raises ModelError for a number."""
        if self.body is None:
            raise ModelError(f"field {self.number} is a number; expected a message: not an ONNX file")
        return self.body

    def signed(self) -> int:
        """The integer as a signed 64-bit number."""
        return self.value - (1 << 64) if self.value >> 63 else self.value


def _varint(buffer: bytes | mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A variable-length integer and the offset after it."""
    value = shift = 0
    while at < end:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            break
    raise _broken(at)


def _broken(at: int) -> ModelError:
    return ModelError(f"invalid at byte {at}: not an ONNX file, or a truncated one")

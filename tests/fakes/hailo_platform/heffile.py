"""Writing and reading HEF files for the double: the real header (§5 of the contract), our own payload.

Behind the header message the protobuf carries two fields that only the double knows: 900 a JSON text
(network group, streams, `kind`), 901 the ONNX graph that stands for the compiled network.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = 0x01484546
LENGTHS = {0: 32, 1: 28, 2: 44, 3: 56}
ARCH = {"HAILO8": 1, "HAILO8R": 2, "HAILO8L": 3, "HAILO15M": 4, "HAILO10H": 5, "HAILO15L": 6, "HAILO15H": 103}


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def write(
    path: Path,
    *,
    arch: int | str = "HAILO8",
    inputs: list[dict[str, Any]],
    outputs: list[dict[str, Any]],
    onnx: bytes = b"",
    group: str = "tiny_whisper_encoder",
    version: int = 2,
    sdk: str = "3.31.0",
) -> Path:
    """Streams are {"name", "shape" (no batch), "order" (NHWC), "type" (UINT8)}."""
    code = ARCH[arch] if isinstance(arch, str) else arch
    head = (field(1, code) if code else b"") + field(2, 1_750_000_000) + field(3, sdk.encode()) + field(4, 1)
    spec = json.dumps({"group": group, "inputs": inputs, "outputs": outputs}).encode()
    proto = field(1, head) + field(900, spec) + field(901, onnx)
    header = struct.pack(">III", MAGIC, version, len(proto)) + struct.pack(">I", zlib.crc32(proto))
    path.write_bytes(header.ljust(LENGTHS[version], b"\0") + proto)
    return path


@dataclass(frozen=True)
class Parsed:
    arch: int
    group: str
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    onnx: bytes


class Damaged(Exception):
    """`status` is the name that HailoRT >= 4.21 gives the damage."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


def fields(data: bytes) -> dict[int, Any]:
    out: dict[int, Any] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
            shift += 7

    while at < len(data):
        key = number()
        if key & 7 == 0:
            out[key >> 3] = number()
        else:
            size = number()
            out[key >> 3] = data[at : at + size]
            at += size
    return out


def parse(data: bytes) -> Parsed:
    if len(data) < 12:
        raise Damaged("HAILO_HEF_FILE_CORRUPTED")
    magic, version, size = struct.unpack(">III", data[:12])
    if magic != MAGIC or version not in LENGTHS:
        raise Damaged("HAILO_HEF_NOT_SUPPORTED")
    proto = data[LENGTHS[version] :]
    if len(proto) != size or struct.unpack(">I", data[12:16])[0] != zlib.crc32(proto):
        raise Damaged("HAILO_HEF_FILE_CORRUPTED")
    top = fields(proto)
    spec = json.loads(top.get(900, b'{"group":"none","inputs":[],"outputs":[]}'))
    return Parsed(fields(top[1]).get(1, 0), spec["group"], spec["inputs"], spec["outputs"], top.get(901, b""))

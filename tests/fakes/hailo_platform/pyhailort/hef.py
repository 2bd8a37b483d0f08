"""`HEF` and stream descriptions of the double."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hailo_platform import double, heffile
from hailo_platform.pyhailort import _pyhailort
from hailo_platform.pyhailort.errors import CLASSES, ExceptionWrapper


def load(source: str | bytes) -> heffile.Parsed:
    """Parse and checksum as libhailort does, with the status of the chosen version."""
    if isinstance(source, str):
        try:
            source = Path(source).read_bytes()
        except OSError as exc:
            raise _pyhailort.fail("HAILO_OPEN_FILE_FAILURE") from exc
    try:
        return heffile.parse(source)
    except heffile.Damaged as exc:
        old = double.version() < (4, 21, 0)
        raise _pyhailort.fail("HAILO_INVALID_HEF" if old else exc.status) from exc
    except (ValueError, KeyError, IndexError) as exc:
        raise _pyhailort.fail("HAILO_INVALID_HEF") from exc


def stream_format(stream: dict[str, Any]) -> SimpleNamespace:
    order = _pyhailort.FormatOrder[stream.get("order", "NHWC")]
    kind = _pyhailort.FormatType[stream.get("type", "UINT8")]
    return SimpleNamespace(type=kind, order=order, flags=_pyhailort.FormatFlags.NONE)


def quant(stream: dict[str, Any]) -> SimpleNamespace:
    zero, scale = float(stream.get("zp", 128.0)), float(stream.get("scale", 0.14))
    return SimpleNamespace(
        qp_zp=zero, qp_scale=scale, limvals_min=-zero * scale, limvals_max=(255 - zero) * scale
    )


class HEF:
    def __init__(self, hef_source: str | bytes) -> None:
        if not isinstance(hef_source, str | bytes):
            raise ValueError("HEF can only be created from a path or a buffer")
        with ExceptionWrapper():
            self._parsed = load(hef_source)
        self._path = hef_source if isinstance(hef_source, str) else None

    def _check(self, name: str | None) -> None:
        if name not in (None, self._parsed.group):
            raise _pyhailort.fail("HAILO_NOT_FOUND")

    def _infos(self, streams: list[dict[str, Any]], direction: str) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(
                name=stream["name"],
                network_name=f"{self._parsed.group}/{self._parsed.group}",
                shape=tuple(stream["shape"]),
                nms_shape=None,
                format=stream_format(stream),
                quant_info=quant(stream),
                direction=_pyhailort.StreamDirection[direction],
            )
            for stream in streams
        ]

    @property
    def path(self) -> str | None:
        return self._path

    def get_network_group_names(self) -> list[str]:
        return [self._parsed.group]

    def get_network_groups_infos(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=self._parsed.group, is_multi_context=True)]

    def get_networks_names(self, network_group_name: str | None = None) -> list[str]:
        with ExceptionWrapper():
            self._check(network_group_name)
        return [f"{self._parsed.group}/{self._parsed.group}"]

    def get_input_vstream_infos(self, name: str | None = None) -> list[SimpleNamespace]:
        self._check(name)  # native exception leaks: these methods have no wrapper
        return self._infos(self._parsed.inputs, "H2D")

    def get_output_vstream_infos(self, name: str | None = None) -> list[SimpleNamespace]:
        self._check(name)
        return self._infos(self._parsed.outputs, "D2H")

    def get_all_vstream_infos(self, name: str | None = None) -> list[SimpleNamespace]:
        return self.get_input_vstream_infos(name) + self.get_output_vstream_infos(name)

    def get_input_stream_infos(self, name: str | None = None) -> list[SimpleNamespace]:
        return self.get_input_vstream_infos(name)

    def get_output_stream_infos(self, name: str | None = None) -> list[SimpleNamespace]:
        return self.get_output_vstream_infos(name)

    def get_all_stream_infos(self, name: str | None = None) -> list[SimpleNamespace]:
        return self.get_all_vstream_infos(name)

    def get_sorted_output_names(self, network_group_name: str | None = None) -> list[str]:
        with ExceptionWrapper():
            self._check(network_group_name)
        return sorted((s["name"] for s in self._parsed.outputs), key=self._rank)

    def _rank(self, name: str) -> int:
        return next(s.get("rank", i) for i, s in enumerate(self._parsed.outputs) if s["name"] == name)

    def bottleneck_fps(self, network_group_name: str | None = None) -> float:
        return 32.0

    def get_vstream_name_from_original_name(
        self, original_name: str, network_group_name: str | None = None
    ) -> str:
        return original_name

    def get_original_names_from_vstream_name(
        self, vstream_name: str, network_group_name: str | None = None
    ) -> list[str]:
        return [vstream_name]

    def get_vstream_names_from_stream_name(
        self, stream_name: str, network_group_name: str | None = None
    ) -> list[str]:
        return [stream_name]

    def get_stream_names_from_vstream_name(
        self, vstream_name: str, network_group_name: str | None = None
    ) -> list[str]:
        return [vstream_name]

    def get_udp_rates_dict(
        self, fps: float, max_supported_rate_bytes: int, network_group_name: str | None = None
    ) -> dict[str, int]:
        raise CLASSES["HailoRTException"]("not an Ethernet device")

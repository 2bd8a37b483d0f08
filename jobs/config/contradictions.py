"""Settings that exclude each other, and what is wrong with giving both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from asr_batch.manifests.errors import ConfigError


class _Pair(NamedTuple):
    """Two keys, the values of the second that the first leaves without effect, and the reason."""

    one: str
    other: str
    clashes: Callable[[Any], bool]
    reason: str


_PLAIN = "--plain decodes each window once, greedily, without guards"

_PAIRS = (
    _Pair("no_ray", "address", lambda value: value != "local", "--no-ray stays in this process"),
    _Pair("plain", "beam_size", lambda value: value > 1, _PLAIN),
    _Pair("plain", "second_model", bool, _PLAIN),
    _Pair("plain", "timestamps", bool, f"{_PLAIN} and without timestamp tokens"),
    _Pair("plain", "drop_hallucinations", bool, _PLAIN),
)


def without_overruled(file: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `file` that do not contradict those `told` on the command line, which wins."""
    overruled = {
        mine
        for pair in _PAIRS
        for mine, other in ((pair.one, pair.other), (pair.other, pair.one))
        if mine in file and other in told and _clash(pair, {**file, **told})
    }
    return {name: value for name, value in file.items() if name not in overruled}


def check_together(values: Mapping[str, Any]) -> None:
    """Raise ConfigError if two of the given values exclude each other."""
    found = [pair for pair in _PAIRS if _clash(pair, values)]
    if found:
        raise ConfigError("\n".join(_sentence(pair, values[pair.other]) for pair in found))


def _clash(pair: _Pair, values: Mapping[str, Any]) -> bool:
    return bool(values.get(pair.one)) and pair.other in values and pair.clashes(values[pair.other])


def _sentence(pair: _Pair, value: Any) -> str:
    other = _option(pair.other) if value is True else f"{_option(pair.other)} {value}"
    return f"{_option(pair.one)} and {other} exclude each other: {pair.reason}; expected one of them"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"

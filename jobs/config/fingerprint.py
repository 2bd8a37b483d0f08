"""The hash of the settings that affect a transcript; a resumed run recognises finished rows by it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from asr_batch.jobs.config.keys import RunConfig
from asr_batch.manifests.languages import AUTO

if TYPE_CHECKING:
    from asr_batch.manifests.records import AudioItem

LATER = ("prompt", "glossary")
LOAD_SETTINGS = ("precision", "provider", "encoder", "decoder")


def settings_base(config: RunConfig, second_sha256: str = "") -> dict[str, Any]:
    """All job settings that affect a transcript; excludes workers, batch size, threads and row overrides."""
    load = asdict(config.load())
    settings = {name: load[name] for name in LOAD_SETTINGS}
    told = {**settings, **asdict(config.pipeline()), "second_model": second_sha256}
    # Newer keys are left out at their defaults, so that hashes of older data sets stay valid.
    return {name: value for name, value in told.items() if value or name not in LATER}


class Settings:
    """The hash of a row's settings: the job's settings with the row's overrides and span applied."""

    def __init__(self, base: Mapping[str, Any]) -> None:
        self.base = dict(base)
        self._known: dict[tuple[Any, ...], str] = {}

    def sha256(self, item: AudioItem | None = None) -> str:
        """The hash for `item`, or for the job if None."""
        if item is None:
            return _sha256(self.base)
        own = (item.start, item.end, item.channel, item.language, item.task, item.prompt, item.track)
        known = self._known.get(own)
        if known is None:
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[own] = _sha256(self._with(item))
        return known

    def _with(self, item: AudioItem) -> dict[str, Any]:
        settings = dict(self.base, start=item.start, end=item.end, channel=item.channel)
        settings["prompt"] = item.prompt or settings.get("prompt")
        settings["language"] = None if item.language == AUTO else item.language or settings["language"]
        settings["task"] = item.task or settings["task"]
        if item.track is not None:
            settings["track"] = item.track
        return settings


def _sha256(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

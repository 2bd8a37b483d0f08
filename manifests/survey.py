"""One pass over the whole manifest before any work: whether it is usable, its rows and columns."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr_batch.manifests.columns import misspelt
from asr_batch.manifests.reader import Manifest
from asr_batch.manifests.records import AudioItem

FIRST = 40


@dataclass(frozen=True, slots=True)
class Survey:
    """Result of one pass over a manifest.

    `ids` are sorted 64-bit hashes of all row ids, `first` the first few ids, `extra` names and Arrow types
    of the passed-through columns, `misspelt` those that look like a misspelt known column, with the probable
    name; `folder` is where relative paths start, None for a remote manifest.
    """

    rows: int
    ids: NDArray[np.int64]
    first: tuple[str, ...]
    extra: tuple[tuple[str, Any], ...]
    sha256: str
    misspelt: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None

    def has(self, row_id: str) -> bool:
        """Whether the manifest has a row."""
        wanted = hash(row_id)
        place = int(self.ids.searchsorted(wanted))
        return place < len(self.ids) and bool(self.ids[place] == wanted)


def survey(manifest: Manifest) -> Survey:
    """Read the whole manifest. Raises ManifestError with every line that cannot be used."""
    ids = array("q")
    first: list[str] = []

    def noted(items: Iterator[AudioItem]) -> Iterator[AudioItem]:
        for item in items:
            ids.append(hash(item.id))
            if len(first) < FIRST:
                first.append(item.id)
            yield item

    facts = manifest.facts(noted(manifest.check()))
    if manifest.renamed:
        del ids[:], first[:]
        deque(noted(manifest.rows()), maxlen=0)
    hashes = np.sort(np.frombuffer(ids, dtype=np.int64)) if ids else np.empty(0, dtype=np.int64)
    return Survey(
        facts.rows,
        hashes,
        tuple(first),
        facts.extra,
        manifest.sha256(),
        misspelt(manifest.columns),
        None if manifest.base.remote else manifest.base.folder,
    )


def no_rows_text(manifest: str) -> str:
    """The error of a manifest that has only a header."""
    return f"{manifest}: no rows; expected at least one below the header"

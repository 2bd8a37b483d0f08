"""Row ids: explicit ones, and unique defaults made from paths."""

from __future__ import annotations

from array import array

import numpy as np

from asr_batch.manifests.columns import default_id


class Names:
    """The ids of one manifest as 64-bit hashes: eight bytes per row when all ids are explicit.

    A default id is the first free one of: path without extension, path with extension, path with extension
    and number. It depends only on the rows before it, so appending rows changes no id.
    """

    def __init__(self) -> None:
        self._explicit = array("q")
        self._used: set[int] | None = None
        self._given: set[int] = set()
        self._numbers: dict[str, int] = {}
        self.renamed = False

    def again(self) -> Names:
        """A copy for the second reading of the same manifest, which knows all explicit ids."""
        names = Names()
        if self._given:
            names._used = set(self._explicit)
        return names

    def take(self, name: str) -> None:
        """Record an explicit id."""
        key = hash(name)
        self._explicit.append(key)
        if self._used is not None:
            self._used.add(key)
            self.renamed = self.renamed or key in self._given

    def give(self, audio: str) -> str:
        """Make a default id for an audio path."""
        if self._used is None:
            self._used = set(self._explicit)
        name = default_id(audio)
        if hash(name) in self._used:
            name = audio
        while hash(name) in self._used:
            self._numbers[audio] = self._numbers.get(audio, 1) + 1
            name = f"{audio}-{self._numbers[audio]}"
        self._used.add(hash(name))
        self._given.add(hash(name))
        return name

    def twice(self) -> set[int]:
        """Hashes of explicit ids that were recorded more than once."""
        keys, counts = np.unique(np.array(self._explicit, dtype=np.int64), return_counts=True)
        return set(keys[counts > 1].tolist())

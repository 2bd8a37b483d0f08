"""Ids of manifest rows: explicit ones, and default ones made unique."""

from __future__ import annotations

from array import array

import numpy as np

from asr_batch.manifests.columns import default_id


class Names:
    """The ids of one manifest, as 64-bit hashes: eight bytes a row when all ids are explicit.

    A default id is the first free one of: path without ending, path with ending, path with ending and a
    number. It depends on the rows before it only, so that rows added at the end change no id.
    """

    def __init__(self) -> None:
        self._explicit = array("q")
        self._used: set[int] | None = None
        self._given: set[int] = set()
        self._numbers: dict[str, int] = {}
        self.renamed = False

    def again(self) -> Names:
        """For reading the same manifest once more, with all explicit ids known."""
        names = Names()
        if self._given:
            names._used = set(self._explicit)
        return names

    def take(self, name: str) -> None:
        """Note an explicit id."""
        key = hash(name)
        self._explicit.append(key)
        if self._used is not None:
            self._used.add(key)
            self.renamed = self.renamed or key in self._given

    def give(self, audio: str) -> str:
        """A default id."""
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
        """Hashes of explicit ids that were taken more than once."""
        keys, counts = np.unique(np.array(self._explicit, dtype=np.int64), return_counts=True)
        return set(keys[counts > 1].tolist())

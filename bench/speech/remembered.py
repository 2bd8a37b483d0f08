"""A recognizer that caches its results on disk.

A window's result depends only on its samples and options (not on its batch), so another measurement with
the same model and different rules of the pipeline only decodes what is new. Results of other code in
`models` are not reused.
"""

from __future__ import annotations

import hashlib
import pickle
import sqlite3
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

from asr_batch import models
from asr_batch.models.recognizer import ModelInfo, Recognizer, Samples, WindowRequest, WindowResult


def _code() -> str:
    """The hash of the code that decodes, with its compiled kernels."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(models.__path__[0]).rglob("*")):
        if path.suffix in (".py", ".so"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class Remembered:
    """Passes new requests on to `inner`. `file`: an SQLite file, created with its folder if missing."""

    def __init__(self, inner: Recognizer, file: Path) -> None:
        self._inner = inner
        self._salt = f"{inner.info.sha256} {_code()}"
        file.parent.mkdir(parents=True, exist_ok=True)
        self._base = sqlite3.connect(file, timeout=60, isolation_level=None)
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.execute("CREATE TABLE IF NOT EXISTS answers (id BLOB PRIMARY KEY, answer BLOB)")
        self._names: dict[Hashable, bytes] = {}
        self._done: list[WindowResult] = []
        self.asked = 0
        self.new = 0

    @property
    def info(self) -> ModelInfo:
        """See the wrapped recognizer."""
        return self._inner.info

    def room(self) -> int:
        """See the wrapped recognizer."""
        return self._inner.room()

    def submit(self, request: WindowRequest) -> None:
        """Return known results at once."""
        name = self._name(request.samples, repr(request.options))
        self.asked += 1
        known = self._find(name)
        if isinstance(known, WindowResult):
            self._done.append(replace(known, key=request.key))
            return
        self.new += 1
        self._inner.submit(request)
        self._names[request.key] = name

    def pending(self) -> int:
        """Windows not returned yet."""
        return self._inner.pending() + len(self._done)

    def poll(self) -> list[WindowResult]:
        """Known results first."""
        if self._done:
            done, self._done = self._done, []
            return done
        results = self._inner.poll()
        for result in results:
            self._keep(self._names.pop(result.key), replace(result, key=None))
        return results

    def detect_language(
        self, windows: Sequence[Samples], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        """Window by window."""
        answers = []
        for samples in windows:
            name = self._name(samples, " ".join(["language", *among, *(["whole"] if whole else [])]))
            answer = self._find(name)
            if not isinstance(answer, dict):
                answer = self._inner.detect_language([samples], among, whole=whole)[0]
                self._keep(name, answer)
            answers.append(answer)
        return answers

    def confirm(self) -> bool:
        """See the wrapped recognizer."""
        return self._inner.confirm()

    def occupancy(self) -> tuple[int, int]:
        """See the wrapped recognizer."""
        return self._inner.occupancy()

    def close(self) -> None:
        """Close both."""
        self._base.close()
        self._inner.close()

    def _name(self, samples: Samples, rest: str) -> bytes:
        digest = hashlib.blake2b(samples.tobytes(), digest_size=20)
        digest.update(f"{self._salt} {rest}".encode())
        return digest.digest()

    def _find(self, name: bytes) -> object:
        row = self._base.execute("SELECT answer FROM answers WHERE id = ?", (name,)).fetchone()
        return pickle.loads(row[0]) if row else None  # its own file

    def _keep(self, name: bytes, answer: object) -> None:
        self._base.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (name, pickle.dumps(answer)))

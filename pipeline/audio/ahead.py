"""Reads on in a thread while what was read is worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import Empty, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

T = TypeVar("T")
_END = object()


class ReadAhead(Generic[T]):
    """The items of `source`, at most `most` of them read ahead. What `source` raises is raised in its place.

    Whoever stops in the middle calls :meth:`close` before what `source` reads from is closed.
    """

    def __init__(self, source: Iterable[T], most: int) -> None:
        self._queue: Queue[object] = Queue(most)
        self._stopped = Event()
        self._thread = Thread(target=self._read, args=(source,), name="read-ahead", daemon=True)
        self._thread.start()

    def _read(self, source: Iterable[T]) -> None:
        try:
            for item in source:
                self._queue.put((item,))
                if self._stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised where the item would have been
            self._queue.put(error)
        else:
            self._queue.put(_END)

    def __iter__(self) -> Iterator[T]:
        while True:
            found = self._queue.get()
            if isinstance(found, tuple):
                yield found[0]
                continue
            self._thread.join()
            if isinstance(found, BaseException):
                raise found
            return

    def close(self) -> None:
        """End the thread; it may still read one item."""
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except Empty:
                continue
        self._thread.join()

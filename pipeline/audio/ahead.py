"""Reads ahead in a thread while earlier items are processed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import Empty, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

T = TypeVar("T")
_END = object()


class ReadAhead(Generic[T]):
    """The items of `source`, reading ahead at most `most`. Exceptions of `source` are raised in order.

    To stop early, call :meth:`close` before closing the input of `source`.
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

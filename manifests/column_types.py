"""The Arrow types of the columns that a manifest passes through to the data set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa


class ColumnTypes:
    """Infers one Arrow type for every passed-through column, chunk by chunk."""

    chunk = 4096

    def __init__(self) -> None:
        self._fixed: dict[str, pa.DataType] = {}
        self._found: dict[str, pa.DataType] = {}
        self._waiting: dict[str, list[Any]] = {}

    def fix(self, schema: pa.Schema, names: Iterable[str]) -> None:
        """Take the types of these columns from a file that knows them."""
        self._fixed = {name: _plain(schema.field(name).type) for name in names}

    def see(self, extra: tuple[tuple[str, Any], ...]) -> None:
        """Take in the values of one row."""
        if self._fixed:
            return
        for name, value in extra:
            waiting = self._waiting.setdefault(name, [])
            if type(value) is not str or name not in self._found or self._found[name] != pa.string():
                waiting.append(value)
                if len(waiting) >= self.chunk:
                    self._merge(name)

    def _merge(self, name: str) -> None:
        values, self._waiting[name] = self._waiting[name], []
        if not values:
            return
        try:
            found = pa.array(values).type
            known = self._found.get(name)
            both = [pa.schema([(name, kind)]) for kind in (known, found) if kind is not None]
            self._found[name] = pa.unify_schemas(both, promote_options="permissive").field(name).type
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            self._found[name] = pa.string()  # values without a common type are written as JSON text

    def result(self, *, as_text: bool) -> tuple[tuple[str, Any], ...]:
        """Name and type of every column, in order of first appearance; `as_text`: its values are text."""
        if self._fixed:
            return tuple(self._fixed.items())
        for name in self._waiting:
            self._merge(name)
        kinds = {name: self._found.get(name, pa.string()) for name in self._waiting}
        return tuple((n, pa.string() if as_text or pa.types.is_null(k) else k) for n, k in kinds.items())


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type to write values back with: the value type of a dictionary, else unchanged."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind

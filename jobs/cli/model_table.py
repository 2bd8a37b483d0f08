"""The rows of `asr-batch models list`, for programs and for a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from asr_batch.models.store.catalogue import KnownModel, find
from asr_batch.models.store.names import split_name
from asr_batch.models.store.store import StoredModel


def stored_row(model: StoredModel) -> dict[str, Any]:
    """A model on this disk."""
    base, _ = split_name(model.name)
    known = find(base)
    record = model.record
    return {
        "name": model.name,
        "state": model.state,
        "kind": record.kind if record else ("bundle" if model.state == "bundled" else "unknown"),
        "repository": record.source if record else None,
        "revision": record.revision if record else None,
        "licence": known.licence if known else ("MIT" if model.state == "bundled" else None),
        "megabytes": round(model.megabytes, 1),
        "window": known.window if known else (10.0 if model.state == "bundled" else None),
        "languages": known.languages if known else ("English" if model.state == "bundled" else None),
        "note": "demonstration only" if model.state == "bundled" else "",
        "path": str(model.path),
    }


def known_row(model: KnownModel) -> dict[str, Any]:
    """A model of the catalogue."""
    return {
        "name": model.name,
        "state": "known",
        "kind": model.kind,
        "repository": model.repository,
        "revision": None,
        "licence": model.licence,
        "megabytes": model.megabytes,
        "window": model.window,
        "languages": model.languages,
        "note": model.note,
        "path": None,
    }


def model_table(rows: list[dict[str, Any]]) -> Table:
    """The rows for a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "state", "repository", "licence", "MB", "window", "languages", "note"):
        right = column in {"MB", "window"}
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        about = "" if row["state"] != "known" else "~"
        window = f"{row['window']:g} s" if row["window"] else "?"
        table.add_row(
            row["name"],
            row["state"],
            row["repository"] or "-",
            row["licence"] or "?",
            f"{about}{row['megabytes']:g}",
            window,
            row["languages"] or "?",
            row["note"],
        )
    return table

"""The rows of `asr-batch models list`, as JSON and as a table."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from asr_batch.models.inspect.about import about_model
from asr_batch.models.store.catalogue import KnownModel, find
from asr_batch.models.store.elsewhere import FoundModel
from asr_batch.models.store.layout import kind_of
from asr_batch.models.store.names import split_name
from asr_batch.models.store.record import model_files
from asr_batch.models.store.store import StoredModel


def stored_row(model: StoredModel) -> dict[str, Any]:
    """The row of a model on this disk; its window and languages are read from its files."""
    known = find(split_name(model.name)[0])
    record, bundled = model.record, model.state == "bundled"
    kind = record.kind if record else kind_of(model_files(model.path)) or "unknown"
    about, _ = about_model(model.path, kind)
    return {
        "name": model.name,
        "state": model.state,
        "kind": kind,
        "repository": record.source if record else None,
        "revision": record.revision if record else None,
        "licence": known.licence if known else ("MIT" if bundled else None),
        "megabytes": round(model.megabytes, 1),
        "window": about.get("window"),
        "languages": _languages(about.get("languages", [])),
        "note": "demonstration only" if bundled else "",
        "path": str(model.path),
    }


def _languages(codes: list[str]) -> str | None:
    if not codes:
        return None
    return "English" if codes == ["en"] else codes[0] if len(codes) == 1 else f"{len(codes)} languages"


def found_row(model: FoundModel) -> dict[str, Any]:
    """The row of a model that another program has downloaded."""
    known = find(model.name)
    return {
        "name": model.name,
        "state": "found",
        "kind": model.kind,
        "repository": model.repository,
        "revision": model.revision,
        "licence": known.licence if known else None,
        "megabytes": round(model.megabytes, 1),
        "window": None,
        "languages": known.languages if known else None,
        "note": "of another program",
        "path": str(model.path),
    }


def known_row(model: KnownModel) -> dict[str, Any]:
    """The row of a model in the catalogue."""
    return {
        "name": model.name,
        "state": "known",
        "kind": model.kind,
        "repository": model.repository,
        "revision": None,
        "licence": model.licence,
        "megabytes": model.megabytes,
        "window": None,
        "languages": model.languages,
        "note": model.note,
        "path": None,
    }


def model_table(rows: list[dict[str, Any]]) -> Table:
    """Format the rows as a table for a terminal; a narrow one breaks the lines of repositories and notes."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "state", "repository", "licence", "MB", "window", "languages", "note"):
        right, long = column in {"MB", "window"}, column in {"repository", "note"}
        table.add_column(column, justify="right" if right else "left", no_wrap=not long)
    for row in rows:
        about = "" if row["state"] != "known" else "~"
        window = f"{row['window']:g} s" if row["window"] else "-"
        table.add_row(
            row["name"],
            row["state"],
            row["repository"] or "-",
            row["licence"] or "-",
            f"{about}{row['megabytes']:g}",
            window,
            row["languages"] or "-",
            row["note"],
        )
    return table

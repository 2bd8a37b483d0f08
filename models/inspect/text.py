"""A model report as text for a terminal or as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from asr_batch.models.inspect.report import GraphReport, ModelReport
from asr_batch.models.onnx.tensors import Value


def as_dict(report: ModelReport) -> dict[str, Any]:
    """The report as JSON values."""
    made = asdict(report)
    made["files"] = [{"file": name, "bytes": size} for name, size in report.files]
    for graph, source in zip(made["graphs"], report.graphs, strict=True):
        total = sum(count for _, count in source.operators)
        graph["nodes"] = total
        graph["operators"] = [
            {"operator": name, "count": count, "share": round(count / total, 4)}
            for name, count in source.operators
        ]
        graph["top"] = dict(source.top)
    made["verdict"]["good"] = report.verdict.good
    return made


class _Text:
    """Underlined headings, tables in columns."""

    def heading(self, level: int, title: str) -> list[str]:
        mark = "=" if level == 1 else "-"
        return ["", title, mark * len(title)] if level < 3 else ["", title]

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
        cells = [list(columns), *[list(row) for row in rows]]
        widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
        return [
            "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells
        ]

    def facts(self, pairs: Iterable[tuple[str, str]]) -> list[str]:
        rows = list(pairs)
        width = max((len(key) for key, _ in rows), default=0)
        return [f"  {key.ljust(width)}  {value}" for key, value in rows]


class _Markdown:
    """The same in Markdown."""

    def heading(self, level: int, title: str) -> list[str]:
        return ["", f"{'#' * level} {title}", ""]

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
        lines = [list(columns), ["---"] * len(columns), *[list(row) for row in rows]]
        return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]

    def facts(self, pairs: Iterable[tuple[str, str]]) -> list[str]:
        return [f"- **{key}:** {value.replace('<|', '`<|').replace('|>', '|>`')}" for key, value in pairs]


def render(report: ModelReport, *, markdown: bool) -> str:
    """The whole report."""
    style = _Markdown() if markdown else _Text()
    lines = style.heading(1, f"{report.name} ({report.kind})")
    lines += style.facts(_summary(report))
    lines += style.heading(2, "Files")
    lines += style.table(("file", "size"), ((name, size_text(size)) for name, size in report.files))
    if report.about:
        lines += style.heading(2, "Sizes and special ids")
        pairs = {**report.about.get("sizes", {}), **report.about.get("special_ids", {})}
        lines += style.facts((key, str(value)) for key, value in pairs.items())
    for weights in report.weights:
        lines += style.heading(2, weights.file)
        types = ", ".join(f"{name} {count:,}" for name, count in weights.types.items())
        lines += style.facts(
            [("parameters", f"{weights.parameters:,} in {weights.tensors} tensors ({types})")]
        )
    for graph in report.graphs:
        lines += _graph(style, graph)
    return "\n".join(lines).strip() + "\n"


def _summary(report: ModelReport) -> list[tuple[str, str]]:
    about, verdict = report.about, report.verdict
    answer = {True: "yes", False: "NO", None: "not tried"}
    return [
        ("path", report.path),
        ("family", str(about.get("family", "?"))),
        ("total size", size_text(sum(size for _, size in report.files))),
        ("window", f"{about['window']:g} s" if "window" in about else "?"),
        ("languages", _languages(about)),
        *((f"bundle {key}", str(value)) for key, value in about.get("bundle", {}).items()),
        ("layout fits", answer[verdict.fits]),
        ("one clip runs", answer[verdict.runs]),
        ("because", verdict.reason),
    ]


def _languages(about: dict[str, Any]) -> str:
    languages = about.get("languages", [])
    if not languages:
        return "unknown"
    shown = ", ".join(languages[:12]) + (", …" if len(languages) > 12 else "")
    return f"{len(languages)} ({shown})" if len(languages) > 1 else str(languages[0])


def _graph(style: _Text | _Markdown, graph: GraphReport) -> list[str]:
    lines = style.heading(2, f"{graph.file} ({size_text(graph.bytes)})")
    if graph.problem:
        return lines + style.facts([("cannot be used", graph.problem)])
    nodes = sum(count for _, count in graph.operators)
    types = ", ".join(f"{name} {count:,}" for name, count in graph.types.items())
    lines += style.facts(
        [
            ("precision", graph.precision),
            ("parameters", f"{graph.parameters:,} in {graph.tensors} tensors ({types})"),
            ("weights", size_text(graph.weight_bytes)),
            *([("external data", ", ".join(graph.external))] if graph.external else []),
            ("providers that load it", ", ".join(graph.providers) or "not tried, or none"),
            ("producer", f"{graph.producer or '?'}, IR version {graph.ir_version}, opset {_opsets(graph)}"),
            ("nodes", f"{nodes:,}, of them {sum(c for _, c in graph.top):,} outside subgraphs"),
            ("subgraph depth", str(graph.depth)),
        ]
    )
    for title, values in (("Inputs", graph.inputs), ("Outputs", graph.outputs)):
        lines += style.heading(3, title)
        lines += style.table(("name", "type", "shape"), (_value_row(value) for value in values))
    lines += style.heading(3, "Operators")
    rows = ((name, str(count), f"{100 * count / nodes:.1f} %") for name, count in graph.operators)
    return lines + style.table(("operator", "count", "share"), rows)


def _opsets(graph: GraphReport) -> str:
    used = {
        domain: version for domain, version in graph.opsets.items() if domain in ("ai.onnx", "com.microsoft")
    }
    return ", ".join(f"{version} ({domain})" for domain, version in (used or graph.opsets).items())


def _value_row(value: Value) -> tuple[str, str, str]:
    return value.name, value.type, "[" + ", ".join(str(size) for size in value.shape) + "]"


def size_text(size: int) -> str:
    """A size in bytes, kB or MB."""
    if size < 10_000:
        return f"{size} B"
    return f"{size / 1e3:.1f} kB" if size < 1_000_000 else f"{size / 1e6:.2f} MB"

"""Progress of a running job: a live bar, lines, JSON lines, or nothing."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from asr_batch.jobs.dataset.json_files import plain
from asr_batch.jobs.dataset.summary import View
from asr_batch.workers.pool import NodeStatus


class Progress(Protocol):
    """Shows views."""

    def show(self, view: View) -> None:
        """Show the state."""

    def close(self) -> None:
        """End the display."""


def hms(seconds: float | None) -> str:
    """Format seconds as 1:02:03."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def line_of(view: View) -> str:
    """Format a view as one line."""
    failed = f", {view.failed} failed" if view.failed else ""
    partial = f", {view.partial} partial" if view.partial else ""
    head = f"{view.done}/{view.rows} files{failed}{partial}, {hms(view.audio_seconds)} of audio"
    if view.state == "stopping":
        return (
            f"{head}; stopping: files in progress have {view.stops_in or 0:.0f} s to finish, "
            "a second signal stops at once"
        )
    if not view.rtfx:
        return f"{head}, speed unknown"
    ends = view.eta is not None and view.eta < 0.5  # what is left are windows that are decoded again
    return f"{head}, {view.rtfx:.1f}x real time, {'finishing' if ends else f'ETA {hms(view.eta)}'}"


class Nothing:
    """`--progress none` and `--quiet`."""

    def show(self, view: View) -> None:
        """No-op."""

    def close(self) -> None:
        """No-op."""


class Lines:
    """A line every 30 seconds, and one when the job is asked to stop."""

    every = 30.0

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._last = stream, time.monotonic()
        self._state = "running"

    def show(self, view: View) -> None:
        """Print the line if it is due."""
        now = time.monotonic()
        if now - self._last >= self.every or (view.state == "stopping" != self._state):
            self._last, self._state = now, view.state
            print(line_of(view), file=self._stream, flush=True)
            if len(view.nodes) > 1:
                for node in view.nodes:
                    print(f"  {_node_text(node)}", file=self._stream, flush=True)

    def close(self) -> None:
        """No-op."""


class JsonLines:
    """One JSON object per line: at most one per second, and one at each change of the state."""

    every = 1.0

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._last = stream, 0.0
        self._state = "running"
        self._view: View | None = None

    def show(self, view: View) -> None:
        """Write the object if it is due."""
        self._view = view
        now = time.monotonic()
        if now - self._last >= self.every or view.state != self._state:
            self._last, self._state = now, view.state
            self._write(view)
            self._view = None

    def _write(self, view: View) -> None:
        names = ("state", "rows", "done", "failed", "partial", "audio_seconds", "share", "rtfx", "eta")
        found: dict[str, Any] = {name: getattr(view, name) for name in names}
        found["nodes"] = plain(view.nodes)
        print(json.dumps({"event": "progress", **found}), file=self._stream, flush=True)

    def close(self) -> None:
        """Write the final state."""
        if self._view is not None:
            self._write(self._view)


class Bar:
    """A live bar on a terminal, with a line per node if there are several."""

    def __init__(self, stream: TextIO) -> None:
        self._live = Live(console=Console(file=stream), refresh_per_second=4, transient=True)
        self._live.start()

    def show(self, view: View) -> None:
        """Redraw the bar."""
        table = Table.grid(padding=(0, 1))
        table.add_row(ProgressBar(total=1.0, completed=view.share, width=30), line_of(view))
        if len(view.nodes) > 1:
            for node in view.nodes:
                table.add_row("", _node_text(node))
        self._live.update(table)

    def close(self) -> None:
        """Remove the bar."""
        self._live.stop()


def _node_text(node: NodeStatus) -> str:
    state = "" if node.alive else f" ({node.note.partition(':')[0] or 'lost'})"
    speed = node.audio_seconds / node.decode_seconds if node.decode_seconds else 0.0
    audio = hms(node.audio_seconds)
    return f"{node.node}{state}: {node.workers} workers, {node.encoder_backend}, {audio}, {speed:.1f}x"


def make_progress(kind: str, *, quiet: bool, stream: TextIO | None = None) -> Progress:
    """Create the requested display; `auto` is a bar on a terminal and lines elsewhere."""
    stream = stream or sys.stderr
    if quiet or kind == "none":
        return Nothing()
    if kind == "json":
        return JsonLines(stream)
    if kind == "auto" and stream.isatty() and not Console(file=stream).is_dumb_terminal:
        return Bar(stream)
    return Lines(stream)

"""One transcript row as the text of a file: srt, vtt, txt, jsonl, csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from asr_batch.jobs.views.subtitles import Cue, cues, prefix

Row = Mapping[str, Any]

COLUMNS = ("id", "status", "text", "segments", "words", "duration", "error_code", "error_message", "language")
"""What the formats need of a row."""

FIELDS = (
    "start",
    "end",
    "channel",
    "text",
    "avg_logprob",
    "no_speech_prob",
    "compression_ratio",
    "temperature",
    "flags",
)


def srt(row: Row) -> str:
    """SubRip."""
    return "".join(f"{number}\n{_srt_cue(cue)}\n" for number, cue in enumerate(cues(row), 1))


def _srt_cue(cue: Cue) -> str:
    text = prefix(cue.channel) + "\n".join(cue.lines)
    return f"{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{text}\n"


def vtt(row: Row) -> str:
    """WebVTT (W3C); a channel becomes a voice."""
    return "\n".join(["WEBVTT\n", *map(_vtt_cue, cues(row))])


def _vtt_cue(cue: Cue) -> str:
    voice = "" if cue.channel is None else f"<v Channel {cue.channel}>"
    text = voice + "\n".join(map(_escape, cue.lines))
    return f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{text}\n"


def _escape(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def clock(seconds: float, point: str) -> str:
    """HH:MM:SS and milliseconds."""
    ms = max(0, round(seconds * 1000))
    return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"


def txt(row: Row) -> str:
    """The whole text and a line end; with several channels a line per segment, the channel before it."""
    segments = row.get("segments") or ()
    if len({segment["channel"] for segment in segments}) > 1:
        return "".join(f"{prefix(s['channel'])}{' '.join(s['text'].split())}\n" for s in segments)
    text = (row.get("text") or "").strip()
    return f"{text}\n" if text else ""


def jsonl(row: Row) -> str:
    """One JSON object a segment, with its words where the row has any."""
    lines = []
    for segment in row.get("segments") or ():
        line = {"id": row["id"], **{field: segment.get(field) for field in FIELDS}}
        if row.get("words") is not None:
            line["words"] = [word for word in row["words"] if _within(word, segment)]
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    return "".join(lines)


def _within(word: Mapping[str, Any], segment: Mapping[str, Any]) -> bool:
    middle: float = (word["start"] + word["end"]) / 2
    return bool(segment["start"] <= middle < segment["end"])


def table(row: Row) -> str:
    """CSV (RFC 4180) with a line per segment; flags separated by blanks."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(("id", *FIELDS))
    for segment in row.get("segments") or ():
        values = [segment.get(field) for field in FIELDS]
        values[-1] = " ".join(values[-1] or ())
        writer.writerow([row["id"], *values])
    return out.getvalue()


FORMATS: dict[str, Callable[[Row], str]] = {"srt": srt, "vtt": vtt, "txt": txt, "jsonl": jsonl, "csv": table}

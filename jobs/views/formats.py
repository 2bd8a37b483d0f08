"""One transcript row as the text of a file: srt, vtt, txt, json, tsv, jsonl, csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from asr_batch.jobs.views.segment_words import by_segment
from asr_batch.jobs.views.subtitles import Cue, cues, prefix
from asr_batch.pipeline.text.words import is_dense

Row = Mapping[str, Any]

COLUMNS = ("id", "status", "text", "segments", "words", "duration", "error_code", "error_message", "language")
"""The columns that the formats need."""

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
    """WebVTT (W3C); a channel becomes a voice tag."""
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
    """The whole text on one line; with several channels one line per segment, prefixed with the channel."""
    segments = row.get("segments") or ()
    if len({segment["channel"] for segment in segments}) > 1:
        return "".join(f"{prefix(s['channel'])}{' '.join(s['text'].split())}\n" for s in segments)
    text = (row.get("text") or "").strip()
    return f"{text}\n" if text else ""


def jsonl(row: Row) -> str:
    """One JSON object per segment, with its words if the row has any."""
    lines = []
    for segment, words in by_segment(row.get("segments") or (), row.get("words")):
        line = {"id": row["id"], **{field: segment.get(field) for field in FIELDS}}
        if words is not None:
            line["words"] = words
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    return "".join(lines)


def table(row: Row) -> str:
    """CSV (RFC 4180) with one line per segment; flags are separated by spaces."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(("id", *FIELDS))
    for segment in row.get("segments") or ():
        values = [segment.get(field) for field in FIELDS]
        values[-1] = " ".join(values[-1] or ())
        writer.writerow([row["id"], *values])
    return out.getvalue()


def whisper_json(row: Row) -> str:
    """One object with text, segments and language, as OpenAI's `whisper` command writes it.

    Differences: `seek` is the segment's own start in hundredths of a second, and `tokens` is empty (the data
    set keeps tokens by window). As in Whisper's output, texts begin with a space in scripts that use spaces.
    """
    words = row.get("words")
    segments = [
        _whisper_segment(number, segment, of)
        for number, (segment, of) in enumerate(by_segment(row.get("segments") or (), words))
    ]
    text = "".join(segment["text"] for segment in segments)
    return json.dumps({"text": text, "segments": segments, "language": row.get("language")}) + "\n"


def _whisper_segment(number: int, segment: Mapping[str, Any], words: list[Any] | None) -> dict[str, Any]:
    made = {
        "id": number,
        "seek": round(segment["start"] * 100),
        "start": segment["start"],
        "end": segment["end"],
        "text": _spaced(segment["text"]),
        "tokens": [],
        **{name: segment.get(name) for name in ("temperature", "avg_logprob", "compression_ratio")},
        "no_speech_prob": segment.get("no_speech_prob"),
    }
    if words is not None:
        made["words"] = [
            {
                "word": _spaced(word["word"]),
                "start": word["start"],
                "end": word["end"],
                "probability": word["prob"],
            }
            for word in words
        ]
    return made


def _spaced(text: str) -> str:
    text = text.strip()
    return text if not text or is_dense(text[0]) else f" {text}"


def tsv(row: Row) -> str:
    """Tab-separated start, end (whole milliseconds) and text, as OpenAI's `whisper` command writes it."""
    lines = ["start\tend\ttext\n"]
    for segment in row.get("segments") or ():
        text = " ".join(segment["text"].split())
        lines.append(f"{round(segment['start'] * 1000)}\t{round(segment['end'] * 1000)}\t{text}\n")
    return "".join(lines)


FORMATS: dict[str, Callable[[Row], str]] = {
    "srt": srt,
    "vtt": vtt,
    "txt": txt,
    "json": whisper_json,
    "tsv": tsv,
    "jsonl": jsonl,
    "csv": table,
}

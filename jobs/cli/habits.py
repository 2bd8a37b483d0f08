"""Hints for options of other transcription programs: which option to use instead."""

from __future__ import annotations

import click

OUT = "use --out DIR for the output folder"
FORMAT = "use --format srt,vtt,txt,json,tsv to write files in these formats"
MODEL = "use --model NAME, such as tiny.en, base or large-v3"
DEVICE = "use --provider cpu, cuda or auto"
PRECISION = "use --precision fp32, int8, int4 or auto"
VOICE = "voice activity detection is always on, except with --plain"
INPUT = "give audio without an option, as in `asr-batch run talk.mp3 calls/ --out DIR`"
GUARDS = "windows that look wrong are decoded again automatically; --plain turns this off"
REDO = "use --redo to continue in a folder of another job, model or settings; another --out starts over"
SPEAKERS = "there is no diarization; the manifest column `channel` with the value split separates channels"

HABITS: dict[str, str] = {
    **dict.fromkeys(("-o", "--output-dir", "--output", "--out-dir", "--output-folder"), OUT),
    **dict.fromkeys(("-f", "--output-format", "--output-srt", "--output-txt", "--srt", "--vtt"), FORMAT),
    **dict.fromkeys(("-m", "--model-size", "--model-name", "--model-path", "--model-dir"), MODEL),
    **dict.fromkeys(("-d", "--device", "--device-index", "--gpu", "--cuda", "--use-gpu"), DEVICE),
    **dict.fromkeys(("--compute-type", "--fp16", "--quantize", "--quantization", "--dtype"), PRECISION),
    **dict.fromkeys(("--vad-filter", "--vad", "--vad-method", "--vad-model", "--vad-parameters"), VOICE),
    **dict.fromkeys(("-i", "--input", "--input-dir", "--file", "--audio", "-r", "--recursive"), INPUT),
    **dict.fromkeys(("--diarize", "--diarization", "--min-speakers", "--max-speakers"), SPEAKERS),
    **dict.fromkeys(
        (
            *("--temperature", "--temperature-increment-on-fallback", "--no-speech-threshold"),
            *("--logprob-threshold", "--log-prob-threshold", "--compression-ratio-threshold"),
            *("--condition-on-previous-text", "--hallucination-silence-threshold", "--best-of"),
        ),
        GUARDS,
    ),
    **dict.fromkeys(("-l", "--lang"), "use --language CODE, such as en"),
    **dict.fromkeys(("-t", "--cpu-threads", "--num-threads"), "use --threads N for threads per worker"),
    **dict.fromkeys(("-j", "--jobs", "--num-workers", "--processors"), "use --workers N"),
    **dict.fromkeys(("--chunk-length", "--chunk-size"), "use --window SECONDS for the longest window"),
    **dict.fromkeys(("--beam", "--num-beams", "-bs"), "use --beam-size N"),
    **dict.fromkeys(("-q",), "use --quiet"),
    **dict.fromkeys(("--overwrite", "--force", "--overwrite-output-dir"), REDO),
    **dict.fromkeys(("--resume", "--continue"), "run the same command again to resume"),
    **dict.fromkeys(("--translate",), "use --task translate"),
    **dict.fromkeys(("--initial-prompt",), "use --prompt TEXT"),
    **dict.fromkeys(
        ("--hotwords", "--keywords", "--vocabulary"), "use --glossary FILE, with one term per line"
    ),
    **dict.fromkeys(("--dry-run",), "use `asr-batch plan SOURCE`"),
}
"""Keys use dashes; underscores in an option are read as dashes."""


def answer(option: str, context: click.Context | None) -> str | None:
    """A hint for an unknown option; None if no known program has it either."""
    plain = option if not option.startswith("--") else option.replace("_", "-").lower()
    if context is not None and plain != option:
        ours = {name for parameter in context.command.params for name in parameter.opts}
        if plain in ours:
            return f"there is no {option}: use {plain}"
    told = HABITS.get(plain)
    return f"there is no {option}: {told}" if told else None

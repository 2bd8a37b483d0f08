"""Answers to options of other transcription programs: which of ours does it."""

from __future__ import annotations

import click

OUT = "--out DIR names the folder for the results"
FORMAT = "--format srt,vtt,txt,json,tsv writes such files as recordings end"
MODEL = "--model NAME chooses the model, such as tiny.en, base or large-v3"
DEVICE = "--provider cpu, cuda or auto chooses the device"
PRECISION = "--precision fp32, int8, int4 or auto chooses the arithmetic"
VOICE = "voice activity is always looked at; --plain turns that and all guards off"
INPUT = "audio is given without an option, as in `asr-batch run talk.mp3 calls/ --out DIR`"
GUARDS = "windows that look wrong are decoded again by themselves; --plain turns that off"
SPEAKERS = "speakers are not told apart; a manifest's column channel set to split keeps channels apart"

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
    **dict.fromkeys(("-l", "--lang"), "--language CODE names the language, such as en"),
    **dict.fromkeys(("-t", "--cpu-threads", "--num-threads"), "--threads N sets the threads of a worker"),
    **dict.fromkeys(("-j", "--jobs", "--num-workers", "--processors"), "--workers N sets how many work"),
    **dict.fromkeys(("--chunk-length", "--chunk-size"), "--window SECONDS sets the longest window"),
    **dict.fromkeys(("--beam", "--num-beams", "-bs"), "--beam-size N sets the hypotheses kept"),
    **dict.fromkeys(("-q",), "--quiet prints nothing when all is well"),
    **dict.fromkeys(("--resume", "--continue"), "the same command goes on where the last run stopped"),
    **dict.fromkeys(("--translate",), "--task translate writes English"),
    **dict.fromkeys(("--dry-run",), "`asr-batch plan SOURCE` looks at every file without transcribing"),
}
"""Keys with dashes; underscores are read as dashes."""


def answer(option: str, context: click.Context | None) -> str | None:
    """One sentence for an option that a command does not have, None for one that nobody has."""
    plain = option if not option.startswith("--") else option.replace("_", "-").lower()
    if context is not None and plain != option:
        ours = {name for parameter in context.command.params for name in parameter.opts}
        if plain in ours:
            return f"{option} is written {plain} here"
    told = HABITS.get(plain)
    return f"there is no {option}: {told}" if told else None

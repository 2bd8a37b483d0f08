"""What a stream that has been read lacks, compared with what was expected of it."""

from __future__ import annotations

from asr_batch.manifests.errors import ItemError
from asr_batch.manifests.records import Failure
from asr_batch.pipeline.audio.reader import AudioStream

SHORTEST = 0.02
"""Seconds of audio below which there is nothing to transcribe."""

MISSING = 1.0
"""Seconds missing from a damaged file from which the row reports it."""


def shortfall(stream: AudioStream, wanted: float | None) -> Failure | None:
    """What is missing compared with the second where the row ends (None: the end of the file), or with the
    file's header. Raises ItemError if there is nothing to transcribe.
    """
    length = stream.end - stream.start
    if length < SHORTEST:
        _refuse(stream, length)
    if stream.replaced and stream.replaced >= 0.99 * length * stream.info.sample_rate:
        raise ItemError("unreadable", "its samples are not numbers (NaN or infinite); expected sound")
    return _shortfall(stream, wanted)


def _refuse(stream: AudioStream, length: float) -> None:
    start = stream.start
    if start and stream.reached <= start:
        raise ItemError("bad_span", f"the row starts at {start:g} s; the audio has {stream.reached:.3f} s")
    raise ItemError("too_short", f"there are {max(length, 0):.4f} s of audio; expected at least {SHORTEST} s")


def _shortfall(stream: AudioStream, wanted: float | None) -> Failure | None:
    damage = stream.damage
    if wanted is not None and wanted - stream.end > 0.05:
        return Failure("bad_span", f"the row ends at {wanted:g} s; the audio ends at {stream.end:.3f} s")
    if wanted is None and stream.short:
        return Failure(
            "unreadable",
            f"the file is cut short: its header promises {stream.info.promised:.3f} s, "
            f"it holds {stream.end:.3f} s",
        )
    if stream.replaced:
        return Failure(
            "unreadable",
            f"{stream.replaced} samples are not numbers (NaN or infinite) and were taken as silence",
        )
    if damage.seconds > MISSING:
        return Failure(
            "unreadable",
            f"the file is damaged: {damage.seconds:.1f} s cannot be decoded, "
            f"the first of {len(damage.holes)} holes is at {damage.holes[0][0]:.1f} s",
        )
    if damage.disordered:
        return Failure(
            "unreadable", "the file is damaged: its times go back, so those of the text may be off"
        )
    if wanted is None and damage.broken_off:
        return Failure("unreadable", f"the file breaks off at {stream.end:.3f} s, inside a frame")
    return None

"""Chooses the decoder of a file, and the track."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from asr_batch.manifests.errors import ItemError
from asr_batch.pipeline.audio.decoders import libsndfile
from asr_batch.pipeline.audio.decoders.chain import Chain, Mended, lacks_decoder, unreadable
from asr_batch.pipeline.audio.decoders.decoder import Decoder
from asr_batch.pipeline.audio.decoders.libsndfile import Unclosed
from asr_batch.pipeline.audio.decoders.ogg import OggPages, is_ogg, scan
from asr_batch.pipeline.audio.decoders.raw import raw_format
from asr_batch.pipeline.audio.decoders.tracks import chosen_track
from asr_batch.pipeline.audio.decoders.wavpack import is_wavpack, whole_blocks
from asr_batch.pipeline.audio.source import Source, View, ending, open_source, reads_at, shown, size_of

if TYPE_CHECKING:
    from asr_batch.pipeline.audio.decoders.ffmpeg import FFmpeg

T = TypeVar("T")
_KEPT = 64
_known: OrderedDict[object, object] = OrderedDict()


def open_decoder(source: Source, track: int | None = None) -> Decoder:
    """Open the file before its first block; `track` None: the default track, if it is audible.

    Raises ItemError (`not_found`, `unreadable`, `empty_file`, `unsupported_codec`, `bad_track`,
    `timeout`).
    """
    try:
        return _opened(source, track)
    except ItemError as error:
        name = shown(source)
        message = error.message if name in error.message else f"{name}: {error.message}"
        raise ItemError(error.code, message) from error
    except unreadable(OverflowError) as error:
        if lacks_decoder(error):
            raise ItemError("unsupported_codec", f"{shown(source)}: no decoder for its codec") from error
        raise ItemError("unreadable", f"{shown(source)} is not a sound file that can be read") from error


def _opened(source: Source, track: int | None) -> Decoder:
    with open_source(source) as stream:
        reads, size = reads_at(stream), size_of(stream)
        head = reads(0, 16)
        raw = raw_format(ending(source), head)
        pages = _remembered(source, "pages", lambda: scan(reads, size)) if is_ogg(head) else None
        blocks = _remembered(source, "blocks", lambda: whole_blocks(reads, size)) if is_wavpack(head) else ()
        unclosed = libsndfile.unclosed(reads, size)
        exact_format = libsndfile.exact_format(reads, size)
    if raw is not None:
        return _ffmpeg(source, track, raw=raw)
    if pages is not None and (len(pages.links) > 1 or not pages.whole):
        return _chain(source, pages)
    if len(blocks) > 1 and not track:
        return _of_view(source, blocks, damaged=True)
    exact = _sound_file(source, unclosed) if exact_format else None
    if exact is not None and exact.exact and not exact.empty:
        if track:
            exact.close()
            raise ItemError("bad_track", f"track {track} is not in this file; it has one track")
        return Mended(exact, partial(_ffmpeg, source))
    try:
        return _heard(source, track)
    except unreadable(ItemError):
        rest = exact or _sound_file(source, unclosed)
        if rest is None:
            raise
        return rest


def _sound_file(source: Source, unclosed: Unclosed | None) -> libsndfile.SoundFile | None:
    """The file opened by libsndfile; None if it cannot read it."""
    try:
        found = _in_libsndfile(source, None)
        if unclosed and found.empty:
            found.close()
            found = _in_libsndfile(source, unclosed)
        if not found.reaches_end():
            found.close()
            found = _in_libsndfile(source, None, whole=False)
    except libsndfile.Trouble:
        return None
    return found


def _in_libsndfile(source: Source, unclosed: Unclosed | None, whole: bool = True) -> libsndfile.SoundFile:
    stream = open_source(source)
    reads, size = reads_at(stream), size_of(stream)
    try:
        seen = View(stream, [(unclosed.first, unclosed.last)], unclosed.patches) if unclosed else stream
        return libsndfile.SoundFile(seen, reads, size, whole)
    except BaseException:
        stream.close()
        raise


def _ffmpeg(source: Source, track: int | None = None, **how: object) -> FFmpeg:
    from asr_batch.pipeline.audio.decoders.ffmpeg import FFmpeg  # PyAV, which WAV and FLAC do without

    stream = open_source(source)
    try:
        return FFmpeg(stream, size_of(stream), track, **how)  # type: ignore[arg-type]
    except BaseException:
        stream.close()
        raise


def _heard(source: Source, track: int | None) -> Decoder:
    """FFmpeg on the requested track, or on the chosen one."""
    found = _ffmpeg(source, track)
    if track is not None or found.info.tracks < 2:
        return found
    default, count = found.default, found.info.tracks
    index = _remembered(source, "track", lambda: chosen_track(partial(_ffmpeg, source), default, count))
    if index == default:
        return found
    found.close()
    other = _ffmpeg(source, index)
    other.notes = (f"track {default}, the default one, is silent: track {index} was used",)
    return other


def _chain(source: Source, pages: OggPages) -> Decoder:
    links = [partial(_of_view, source, [link], not pages.whole) for link in pages.links]
    return Chain(links, pages.broken_off, pages.whole)


def _of_view(source: Source, stretches: Sequence[tuple[int, int]], damaged: bool) -> FFmpeg:
    """FFmpeg on a part of the file's bytes."""
    from asr_batch.pipeline.audio.decoders.ffmpeg import FFmpeg  # as above

    stream = open_source(source)
    try:
        seen = View(stream, stretches)
        return FFmpeg(seen, seen.size, damaged=damaged)
    except BaseException:
        stream.close()
        raise


def _remembered(source: Source, what: str, find: Callable[[], T]) -> T:
    """Result of an earlier check of the same file, or of a new one."""
    key = (what, _identity(source))
    found = _known.get(key)
    if found is None:
        found = _known[key] = find()
        if len(_known) > _KEPT:
            _known.popitem(last=False)
    return cast(T, found)


def _identity(source: Source) -> object:
    if isinstance(source, bytes):
        return hash(source), len(source)
    found = os.stat(source)  # noqa: PTH116
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

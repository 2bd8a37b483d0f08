"""How each kind of recording is made: a line of shell with ffmpeg and sox, or changed samples or bytes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile

_F = "ffmpeg -hide_banner -loglevel error -y"
_PICTURE = f"{_F} -f lavfi -i testsrc=s=160x120:r=10:d=40"
_QUIET = f"{_F} -f lavfi -i anullsrc=r=16000:cl=mono:d=25"
_GAP = "asetpts='if(gt(T,10),PTS+20/TB,PTS)'"

TROUBLES = {
    0: "none",
    1: "length unknown",
    2: "chained",
    3: "no length, or a false one",
    4: "length a little too long",
    5: "telephony",
    6: "whole, cut, zeroed",
    7: "late, or with a gap",
    8: "two tracks",
    9: "out of phase, one-sided",
    10: "surround",
    11: "faint, offset, hum",
    12: "recorder killed",
    14: "no header",
    15: "language code",
    16: "other formats",
}
"""What is wrong with a case, by its line."""

Make = Callable[[np.ndarray, Path], None]


@dataclass(frozen=True)
class Case:
    """`line` is a key of `TROUBLES`. `how` makes the file `name` from $S: a shell line, or a function of the
    samples. `said`: how often the text is in it; `shift`: seconds by which it comes later.
    """

    line: int
    name: str
    how: str | Make
    status: str = "ok"
    said: int = 1
    shift: float = 0.0
    gap: float = 0.0
    language: str = ""
    track: str = ""

    def times(self, starts: Sequence[float], seconds: float) -> list[float]:
        """Where the onsets are in this file."""
        if self.status != "ok":
            return []
        late = [start + self.shift + (self.gap if start > 10 else 0.0) for start in starts]
        return [start + seconds * part for part in range(self.said) for start in late]


def made(case: Case, speech: Path, folder: Path) -> Path:
    """The case's file, unless it is there."""
    path = folder / case.name
    if path.exists() or case.how == "":
        return path
    if callable(case.how):
        case.how(soundfile.read(speech, dtype="float32")[0], path)
        return path
    command = f"set -e; S={speech.absolute()}; {case.how}"
    subprocess.run(["bash", "-c", command], cwd=folder, check=True)
    return path


def _under(hertz: Sequence[float], decibel: float, level: float = -45.0) -> Make:
    """Speech at `level` dBFS with tones that are together so much louder; 0 Hz is an offset of 0.5."""

    def make(speech: np.ndarray, path: Path) -> None:
        faint = speech * 10 ** (level / 20) / np.sqrt(np.square(speech).mean())
        time = np.arange(len(speech)) / 16_000
        power = 10 ** ((level + decibel) / 20) * np.sqrt(2)
        tones = sum(np.sin(2 * np.pi * f * time + i) * 10 ** (-i) for i, f in enumerate(hertz) if f)
        soundfile.write(path, faint + (power * tones if hertz[0] else 0.5), 16_000)

    return make


def _channels(*gains: float, offset: Sequence[float] = ()) -> Make:
    def make(speech: np.ndarray, path: Path) -> None:
        columns = [gain * speech for gain in gains]
        for index, value in enumerate(offset):
            columns[index] = 0.5 * columns[index] + value
        soundfile.write(path, np.stack(columns, axis=1), 16_000)

    return make


def _amr(speech: np.ndarray, path: Path) -> None:
    """AMR, for which ffmpeg seldom has an encoder; PyAV's libraries do."""
    frame = av.AudioFrame.from_ndarray((speech * 32767).astype(np.int16)[None], "s16", "mono")
    frame.sample_rate = 16_000
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopencore_amrnb", rate=8000)
        stream.layout, stream.bit_rate = "mono", 12_200
        resampler = av.AudioResampler("s16", "mono", 8000, frame_size=160)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(part))


def _sized(size: int | None, more: int = 0, behind: bytes = b"", odd: bool = False) -> Make:
    """A WAV file whose data chunk says `size` (or `more` bytes than it has), a chunk before or behind it."""

    def make(speech: np.ndarray, path: Path) -> None:
        soundfile.write(path, speech, 16_000)
        data = path.read_bytes()
        place = data.index(b"data")
        told = len(data) - place - 8 + more if size is None else size
        chunk = b"note\x05\0\0\0hello\0" if odd else b""
        head = data[:place] + chunk + b"data" + told.to_bytes(4, "little")
        path.write_bytes(head + data[place + 8 :] + behind)

    return make


def _damage(of: str, how: str) -> str:
    """Shell: the file `of`, made before, cut at half or with 30 % of its bytes zeroed."""
    changed = {"cut": "d[:n//2]", "zero": "d[:n*4//10]+bytes(n*7//10-n*4//10)+d[n*7//10:]"}[how]
    return f"python3 -c \"d=open('{of}','rb').read(); n=len(d); open('{how}-{of}','wb').write({changed})\""


def _plain(line: int, name: str, *options: str, **how: object) -> Case:
    return Case(line, name, f"{_F} -i $S {' '.join(options)} {name}", **how)  # type: ignore[arg-type]


_PHASE = '-af "pan=stereo|c0=c0|c1={}*c0"'
# fmt: off
CASES: tuple[Case, ...] = (
    _plain(0, "good.wav"),
    Case(1, "pipe.flac", f"{_F} -i $S -f flac - | cat > pipe.flac"),
    Case(1, "pipe.wav", f"{_F} -i $S -f wav - | cat > pipe.wav"),
    Case(1, "pipe.w64", f"{_F} -i $S -f w64 - | cat > pipe.w64"),
    Case(1, "pipe.aiff", "sox $S -t aiff - | cat > pipe.aiff"),
    Case(1, "pipe.au", f"{_F} -i $S -f au - | cat > pipe.au"),
    Case(1, "pipe.caf", "sox $S -t caf - | cat > pipe.caf"),
    Case(1, "pipe.wv", f"{_F} -i $S -f wv - | cat > pipe.wv"),
    Case(1, "pipe.mka", f"{_F} -i $S -c:a libvorbis -f matroska - | cat > pipe.mka"),
    Case(1, "pipe.webm", f"{_F} -i $S -c:a libopus -f webm - | cat > pipe.webm"),
    Case(1, "pipe.flv", f"{_F} -i $S -ar 44100 -c:a aac -f flv - | cat > pipe.flv"),
    *(
        Case(2, f"chain.{kind}", f"{_F} -i $S {codec} one.{kind}; cat one.{kind} one.{kind} > chain.{kind}",
             said=2)
        for kind, codec in (("ogg", "-c:a libvorbis"), ("opus", "-c:a libopus"), ("spx", "-c:a libspeex"),
                            ("oga", "-c:a flac"))
    ),
    Case(2, "mixed.ogg", f"{_F} -i $S -ar 48000 -ac 2 -c:a libvorbis two.ogg; "
         "cat one.ogg two.ogg > mixed.ogg", said=2),
    Case(3, "vbr.mp3", f"{_F} -i $S -c:a libmp3lame -q:a 4 -f mp3 - | cat > vbr.mp3"),
    Case(3, "twice.mp3", f"{_F} -i $S -c:a libmp3lame one.mp3; cat one.mp3 one.mp3 > twice.mp3", said=2),
    Case(3, "vbr44.mp3", f"{_F} -i $S -ar 44100 -ac 2 -c:a libmp3lame -q:a 6 -f mp3 - | cat > vbr44.mp3"),
    Case(3, "twice.aac", f"{_F} -i $S -c:a aac one.aac; cat one.aac one.aac > twice.aac", said=2),
    Case(3, "twice.ac3", f"{_F} -i $S -ar 48000 one.ac3; cat one.ac3 one.ac3 > twice.ac3", said=2),
    Case(4, "long.mp3", f"{_F} -i $S -c:a libmp3lame a4.mp3; head -c -900 a4.mp3 > long.mp3"),
    _plain(4, "mp3.wav", "-c:a libmp3lame"),
    _plain(4, "mp3.mkv", "-c:a libmp3lame"),
    Case(5, "gsm.wav", "sox $S -r 8000 -e gsm-full-rate gsm.wav"),
    _plain(5, "adpcm.wav", "-c:a adpcm_ima_wav"),
    _plain(5, "adpcm-ms.wav", "-c:a adpcm_ms"),
    _plain(5, "g726.wav", "-ar 8000 -c:a g726"),
    _plain(5, "adpcm.aifc", "-c:a adpcm_ima_qt -f aiff"),
    _plain(5, "mulaw.au", "-ar 8000 -c:a pcm_mulaw"),
    Case(6, "f.m4a", f"{_F} -i $S -c:a aac -movflags +faststart f.m4a"),
    *(Case(6, f"{how}-f.m4a", _damage("f.m4a", how), "partial") for how in ("cut", "zero")),
    *(
        case
        for name, codec in (("f.webm", "-c:a libopus"), ("f.wma", "-c:a wmav2"), ("f.opus", ""), ("f.ts", ""),
                            ("f.mka", "-c:a libvorbis"), ("f.flv", "-ar 44100 -c:a aac"), ("f.wv", ""),
                            ("f.flac", ""), ("f.mp3", ""))
        for case in (_plain(6, name, codec),
                     *(Case(6, f"{how}-{name}", _damage(name, how), "partial") for how in ("cut", "zero")))
    ),
    *(
        Case(7, f"late.{kind}", f"{_PICTURE} -itsoffset 5 -i $S -map 0:v -map 1:a {codec} late.{kind}",
             shift=5)
        for kind, codec in (("mp4", "-c:v mpeg4 -c:a aac"), ("mov", "-c:v mpeg4 -c:a pcm_s16le"),
                            ("webm", "-c:v libvpx -b:v 100k -c:a libopus"), ("mkv", "-c:v mpeg4 -c:a aac"),
                            ("ts", "-c:v mpeg2video -c:a mp2"), ("avi", "-c:v mpeg4 -c:a libmp3lame"),
                            ("wmv", "-c:v wmv2 -c:a wmav2"), ("flv", "-c:v flv -ar 44100 -c:a aac"),
                            ("3gp", "-c:v mpeg4 -c:a aac"))
    ),
    Case(7, "pcm.avi", f"{_PICTURE} -itsoffset 5 -i $S -map 0:v -map 1:a -c:v mpeg4 -c:a pcm_s16le pcm.avi",
         shift=5),
    *(
        _plain(7, f"gap.{kind}", f'-af "{_GAP}" {codec}', gap=20.0)
        for kind, codec in (("webm", "-c:a libopus"), ("mp4", "-c:a aac"), ("mkv", "-c:a aac"), ("ts", ""))
    ),
    *(
        Case(8, f"two{mark}.{kind}", f"{_QUIET} -i $S -map 0 -map 1 {codec} -disposition:a:0 {first} "
             f"-disposition:a:1 {second} two{mark}.{kind}")
        for kind, codec in (("mp4", "-c:a aac"), ("mka", "-c:a libopus"), ("mov", "-c:a pcm_s16le"))
        for mark, first, second in (("", "0", "default"), ("-silent", "default", "0"))
    ),
    Case(8, "chosen.mka", f"{_QUIET} -i $S -map 0 -map 1 -c:a libopus chosen.mka", track="1"),
    *(_plain(9, name, _PHASE.format(gain), codec)
      for name, gain, codec in (("phase.wav", "-1", ""), ("phase08.wav", "-0.8", ""), ("phase.m4a", "-1", ""),
                                ("phase.mp3", "-1", "-b:a 96k"), ("phase.opus", "-1", ""))),
    Case(9, "left.wav", _channels(1, 0)),
    Case(9, "right.wav", _channels(0, 1)),
    *(_plain(10, f"c{mark}.{kind}", f'-af "pan={layout}|{channel}=c0" {codec}')
      for mark, layout, channel, kind, codec in (
          ("51", "5.1", "FC", "wav", ""), ("51", "5.1", "FC", "ac3", "-ar 48000"),
          ("51", "5.1", "FC", "m4a", ""),
          ("51", "5.1", "FC", "opus", "-ar 48000"), ("51", "5.1", "FC", "flac", ""),
          ("71", "7.1", "FC", "wav", ""), ("71", "7.1", "FC", "flac", ""), ("21", "2.1", "FL", "wav", ""),
          ("quad", "quad", "BL", "wav", ""), ("51side", "5.1(side)", "FC", "mka", "-c:a flac"))),
    Case(11, "faint.wav", _under((50,), -90)),
    Case(11, "dc.wav", _under((0,), 0)),
    Case(11, "hum50-20.wav", _under((50,), 20)),
    Case(11, "hum50-40.wav", _under((50,), 40)),
    Case(11, "hum60-40.wav", _under((60,), 40)),
    Case(11, "hum60-harmonics.wav", _under((60, 120), 20)),
    Case(11, "dc-one.wav", _channels(1, 1, offset=(0.5, 0.0))),
    Case(12, "size0.wav", _sized(0)),
    Case(12, "sizeff.wav", _sized(0xFFFFFFFF)),
    Case(12, "size-odd.wav", _sized(0xFFFFFFFE)),
    Case(12, "size1more.wav", _sized(None, 1)),
    Case(12, "size7fff.wav", _sized(0x7FFFFFFF)),
    Case(12, "oddchunk.wav", _sized(0, odd=True)),
    Case(12, "listbehind.wav", _sized(None, 0, b"LIST\x04\0\0\0INFO")),
    _plain(14, "raw.g722", "-c:a g722 -f g722"),
    _plain(14, "raw.al", "-ar 8000 -c:a pcm_alaw -f alaw"),
    _plain(14, "raw.ul", "-ar 8000 -c:a pcm_mulaw -f mulaw"),
    Case(14, "raw.gsm", "sox $S -r 8000 -t gsm raw.gsm"),
    _plain(14, "raw.sln", "-ar 8000 -f s16le"),
    _plain(14, "raw.g726", "-ar 8000 -c:a g726 -b:a 32k -f g726"),
    *(Case(15, f"code-{code}.flac", f"{_F} -i $S code-{code}.flac", language=code)
      for code in ("EN", "English", "en_US", "auto", "en-GB", "AUTO")),
    Case(16, "x.amr", _amr),
    Case(16, "amr.3gp", _amr),
    *(_plain(16, name, options) for name, options in (
        ("x.aiff", ""), ("x.w64", ""), ("x.rf64", "-rf64 always -f wav"), ("x.caf", ""), ("x.tta", ""),
        ("x.m4b", "-c:a aac -f mp4"), ("x.mp2", ""), ("x.spx", "-c:a libspeex"),
        ("x.dts", "-strict -2 -ar 48000"), ("x.mlp", "-strict -2 -ar 48000"),
        ("x.ra", "-c:a real_144 -ar 8000 -f rm"),
        ("x.voc", ""), ("x.eac3", "-ar 48000"), ("x.sbc", "-c:a sbc"),
        ("x.g723", "-ar 8000 -c:a g723_1 -b:a 6300 -f g723_1"),
        ("x.alac.m4a", "-c:a alac"))),
)
# fmt: on

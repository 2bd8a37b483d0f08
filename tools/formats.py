"""Generates the table of formats: `python tools/formats.py > docs/formats.md`.

Needs the commands `ffmpeg` and `sox`. Each file has 12 s with a tone burst at every second, and is read
like a row's audio: decoder, seeking, expected length, and the result if it is cut in half.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import soundfile

from asr_batch.manifests.errors import ItemError
from asr_batch.pipeline.audio.reader import AudioStream

SECONDS, RATE = 12, 16_000
FFMPEG: dict[str, tuple[str, ...]] = {
    "wav": (),
    "wav-float": ("-c:a", "pcm_f32le", "{}.wav"),
    "wav-alaw": ("-ar", "8000", "-c:a", "pcm_alaw", "{}.wav"),
    "wav-adpcm": ("-c:a", "adpcm_ima_wav", "{}.wav"),
    "wav-gsm": ("sox", "-r", "8000", "-e", "gsm-full-rate", "{}.wav"),
    "wav-mp3": ("-c:a", "libmp3lame", "{}.wav"),
    "w64": (),
    "rf64": ("-rf64", "always", "{}.wav"),
    "aiff": (),
    "au": (),
    "caf": ("-c:a", "pcm_s16le"),
    "flac": (),
    "mp3": (),
    "mp3-headless": ("-q:a", "4", "-write_xing", "0", "-id3v2_version", "0", "{}.mp3"),
    "mp2": (),
    "ogg": ("-c:a", "libvorbis"),
    "opus": ("-c:a", "libopus"),
    "spx": ("-c:a", "libspeex"),
    "m4a": ("-c:a", "aac", "-movflags", "+faststart"),
    "m4a-alac": ("-c:a", "alac", "-movflags", "+faststart", "{}.m4a"),
    "mp4-fragments": (
        "-c:a",
        "aac",
        "-movflags",
        "+frag_keyframe+empty_moov",
        "-frag_duration",
        "1000000",
        "{}.mp4",
    ),
    "3gp": ("-c:a", "aac", "-movflags", "+faststart"),
    "aac": ("-c:a", "aac"),
    "ac3": (),
    "mkv": ("-c:a", "aac"),
    "webm": ("-c:a", "libopus"),
    "wma": ("-c:a", "wmav2"),
    "ts": ("-c:a", "aac"),
    "flv": ("-ar", "44100", "-c:a", "aac"),
    "avi": ("-c:a", "libmp3lame"),
    "wv": ("-c:a", "wavpack"),
    "tta": (),
    "g722": ("-c:a", "g722"),
    "al": ("-ar", "8000", "-f", "alaw"),
    "ul": ("-ar", "8000", "-f", "mulaw"),
    "gsm": ("sox", "-r", "8000"),
    "sln": ("-ar", "8000", "-f", "s16le"),
    "g723": ("-ar", "8000", "-c:a", "g723_1", "-b:a", "6300", "-f", "g723_1"),
    "sbc": ("-c:a", "sbc"),
    "amr": ("pyav",),
    "3gp-amr": ("pyav", "{}.3gp"),
    "eac3": ("-ar", "48000"),
    "dts": ("-strict", "-2", "-ar", "48000"),
    "mlp": ("-strict", "-2", "-ar", "48000"),
    "ra": ("-ar", "8000", "-c:a", "real_144", "-f", "rm"),
    "voc": (),
    "aifc-adpcm": ("-c:a", "adpcm_ima_qt", "-f", "aiff", "{}.aifc"),
    "oga-flac": ("-c:a", "flac", "{}.oga"),
    "mov-pcm": ("-c:a", "pcm_s16le", "{}.mov"),
}
"""Name, and the arguments of ffmpeg (or sox, or PyAV for AMR-NB) that write it."""

HEAD = """# Formats

The audio formats that `asr-batch` reads, and how exactly. `python tools/formats.py` made the table from
files of {seconds} s, encoded with {version}. They were read with
libsndfile {sndfile} and FFmpeg's libraries {libraries} in PyAV {pyav}.

* *Seeking* is `exact` if any sample can be reached without decoding what comes before it. Several workers
  share a long file of this kind.
* *Expected length* is the length that a row is compared with. It is only a hint; the decoded length counts.
  A file is truncated if more than 1 s and more than 1 % of it is missing. Without an expected length, a row
  is `partial` if the file ends inside a frame, page or sample.
* *Offset* is the distance of the tone burst at 5 s from its true position.
* *Cut in half* is the status of the row if the file has lost the second half of its bytes.

| file | codec | decoder | seeking | expected length | offset | cut in half |
|---|---|---|---|---|---|---|
"""
TAIL = """
FFmpeg's libraries also decode AMR-WB, DSS, Monkey's Audio, Musepack and others. They are read in the same
way, but no encoder for them was at hand, so they are untested. A codec that the libraries lack gives a row
with `unsupported_codec`.

`.g722`, `.g723`, `.g726`, `.g729`, `.sbc`, `.gsm`, `.al`, `.alaw`, `.ul`, `.ulaw`, `.sln` (8 kHz) and
`.sln12` to `.sln48` have no header; their extension determines how they are read. A `.raw` or `.pcm` file
does not name its sample rate and is `unreadable`.

A file is `ok` in the last column if nothing in its half tells that there was more: codecs with one byte per
sample, and G.723.1, RealAudio and VOC. MP4 files with their index at the end are `failed`: without it,
nothing can be read. An AAC, AC-3 or transport stream that is cut exactly between two frames is a complete
file, byte for byte.

## Damaged files

`pytest tests/pipeline/test_fuzz.py -m slow -s` cuts, zeroes and flips bytes of 2,000 files of 13 kinds, and
listens to what is left. The sound is a tone that rises all the time, so its pitch tells which second of the
recording it comes from. A row may be `ok` if at most one second is missing and nothing is misplaced by more
than one second. Of three times 2,000 files (`FUZZ_SEED=7`, `11`, `12`) none was `ok` wrongly; none crashed
or hung.
"""


def main() -> int:
    """Print the page."""
    version = _run(["ffmpeg", "-version"]).split("\n")[0].split(" Copyright")[0]
    libraries = ".".join(map(str, av.library_versions["libavcodec"]))
    head = HEAD.format(
        seconds=SECONDS,
        version=version,
        sndfile=soundfile.__libsndfile_version__,
        libraries=f"(libavcodec {libraries})",
        pyav=av.__version__,
    )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.wav"
        soundfile.write(source, bursts(), RATE)
        rows = [row(name, made(source, name, how)) for name, how in FFMPEG.items()]
    print(head + "\n".join(rows) + "\n" + TAIL, end="")
    return 0


def bursts() -> np.ndarray:
    """A tone burst at every second, over faint noise."""
    time = np.arange(SECONDS * RATE) / RATE
    noise = np.random.default_rng(0).normal(0, 1e-3, len(time))
    return (0.5 * np.sin(2 * np.pi * 800 * time) * (time % 1 < 0.1) + noise).astype(np.float32)


def made(source: Path, name: str, how: tuple[str, ...]) -> Path:
    """Write the file with ffmpeg or sox."""
    *options, last = how or ("",)
    if "{}" not in last:
        options, last = list(how), "{}." + name
    target = source.with_name(last.format(name))
    if options[:1] == ["pyav"]:
        amr(source, target)
    elif options[:1] == ["sox"]:
        _run(["sox", str(source), *options[1:], str(target)])
    else:
        _run(["ffmpeg", "-loglevel", "error", "-y", "-i", str(source), *options, str(target)])
    return target


def amr(source: Path, target: Path) -> None:
    """AMR-NB, for which ffmpeg seldom has an encoder; PyAV's libraries do."""
    with av.open(str(source)) as read, av.open(str(target), "w") as container:
        stream = container.add_stream("libopencore_amrnb", rate=8000)
        stream.layout, stream.bit_rate = "mono", 12_200
        resampler = av.AudioResampler("s16", "mono", 8000, frame_size=160)
        parts = [part for frame in read.decode(audio=0) for part in resampler.resample(frame)]
        for part in (*parts, *resampler.resample(None), None):
            container.mux(stream.encode(part))


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def row(name: str, path: Path) -> str:
    """One line of the table."""
    samples, stream = read(path)
    info = stream.info
    held = f"{info.promised:.2f} s" if info.promised else "unknown"
    cells = (name, info.codec, info.decoder, "exact" if info.seekable else "no", held, offset(samples))
    return f"| {' | '.join((*cells, half(path)))} |"


def read(path: Path) -> tuple[np.ndarray, AudioStream]:
    """All samples."""
    stream = AudioStream(path)
    blocks = list(stream.blocks())
    stream.close()
    return np.concatenate(blocks), stream


def offset(samples: np.ndarray) -> str:
    """Milliseconds between the burst at 5 s and its true position."""
    loud = np.convolve(np.abs(samples[int(4.5 * RATE) : int(5.5 * RATE)]), np.ones(80) / 80, "same") > 0.1
    return f"{(int(np.argmax(loud)) / RATE - 0.5) * 1000:.0f} ms"


def half(path: Path) -> str:
    """The result for the first half of the file."""
    target = path.with_name(f"half-{path.name}")
    target.write_bytes(path.read_bytes()[: path.stat().st_size // 2 - 7])
    try:
        _, stream = read(target)
    except (ItemError, ValueError):
        return "failed"
    wrong = stream.short or stream.damage.broken_off or stream.damage.seconds > 1
    return "partial" if wrong else "ok"


if __name__ == "__main__":
    sys.exit(main())

"""Whisper compiled with `asr-batch models compile`: the fast engine.

Windows of any file and with any options decode together in slots (:mod:`engine`); a window's text does not
depend on the batch. Word times come from a second decoder graph, opened when a window first needs them.
Unlikely texts wait for others, and a step of their beam searches follows a step of the slots.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from asr_batch.manifests.errors import ModelError
from asr_batch.models import huge_pages
from asr_batch.models.encoder import Float32, Monitored
from asr_batch.models.onnx.options import Cores
from asr_batch.models.recognizer import (
    SAMPLE_RATE,
    LoadOptions,
    ModelInfo,
    Recognizer,
    Samples,
    TimedWord,
    WindowRequest,
    WindowResult,
)
from asr_batch.models.whisper.bundle import Bundle, read_bundle
from asr_batch.models.whisper.config import WhisperConfig
from asr_batch.models.whisper.engine.beam import Beam, BeamSearch
from asr_batch.models.whisper.engine.choose import FastRules
from asr_batch.models.whisper.engine.decoder import Heard
from asr_batch.models.whisper.engine.encoder import AHEAD, CpuEncoder
from asr_batch.models.whisper.engine.feed import EncoderFeed, Ready
from asr_batch.models.whisper.engine.ranking import most_likely
from asr_batch.models.whisper.engine.read import read_text
from asr_batch.models.whisper.engine.slots import DecoderEngine, Slot
from asr_batch.models.whisper.engine.words import WordAligner
from asr_batch.models.whisper.opening import choose_encoder, describe, wants_npu, window_of
from asr_batch.models.whisper.outcome import window_result
from asr_batch.models.whisper.rules import Decoding, language_chances
from asr_batch.models.whisper.tokenizer import WhisperTokenizer, prompt_ids, sot_index

SLOTS = 16
"""Default number of windows that decode together. Each step reads the weights once for all of them: with
24, a window takes 7 % less time in the decoder and 2 % less in total; a slot takes 3 MB at Whisper-tiny's
size.
"""

SEARCHED = 3
"""Number of beams when searching for a more likely text. With 5 the word error rate of whisper-base (30 s
windows, human clips) is 0.02 to 0.06 points lower, and the search takes twice the time."""

_DOUBTFUL = math.log(0.4)
"""Log-probability below which a token is doubtful: another one may be as likely."""

_TOGETHER = 5
"""Searches that run at once, with almost as many rows as there are slots."""

_WAIT = 100
"""Steps of the slots for which unlikely texts wait for others at most."""

_QUEUE = 5
"""Unlikely texts waiting for a search from which the slots wait, too. Each keeps its audio's keys and values,
and where most texts are unlikely, the slots would be far ahead of the searches: they need three rows each.
"""

_BRIEF, _SURE = 6 * SAMPLE_RATE, 0.9
"""Windows with fewer samples and a lower probability of the most likely language are padded to the model's
length for language detection: of 380 human clips base then detects 356 correctly (as many as if all short
ones are padded), and 352 with measured silence.
"""

_SETTLED = 20
"""Windows after which all memory is allocated, so that moving it to huge pages (0.1 to 0.2 s) pays."""


def matches(path: Path) -> bool:
    """Whether the folder is a bundle."""
    return (path / "bundle.json").is_file()


def load(path: Path, options: LoadOptions) -> Recognizer:
    """Open the bundle. Raises ModelError if it is invalid."""
    bundle = read_bundle(path)
    if options.precision not in ("auto", bundle.precision):
        raise ModelError(
            f"{path}: compiled as {bundle.precision}, not {options.precision}; compile it again with "
            f"--precision {options.precision}"
        )
    config = WhisperConfig.from_folder(path)
    window_of(bundle, config, options)
    if options.decoder == "npu":
        from asr_batch.models.whisper.npu import load_npu  # all of the NPU's modules

        return load_npu(bundle, config, options)
    return CompiledWhisper(bundle, config, options)


@dataclass(slots=True)
class _Job:
    """A window in progress."""

    request: WindowRequest
    decoding: Decoding
    number: int = 0
    backend: str = "cpu"
    flags: tuple[str, ...] = ()


@dataclass(slots=True)
class _Unlikely:
    """A greedy text, and the audio in which a beam search looks for a more likely one."""

    job: _Job
    slot: Slot
    cross: Heard


class CompiledWhisper:
    """A compiled Whisper; implements `Recognizer`."""

    def __init__(self, bundle: Bundle, config: WhisperConfig, options: LoadOptions) -> None:
        threads = options.threads or os.cpu_count() or 1
        self._config = config
        self._rules = FastRules(config)
        slots = options.batch_size or SLOTS
        cores = Cores(threads)
        cpu = partial(CpuEncoder, bundle.folder, cores, options.provider)
        with ThreadPoolExecutor(1) as beside:  # opening copies weights, for half of the time
            opened = None if wants_npu(bundle, options) else beside.submit(cpu)
            self._tokenizer = WhisperTokenizer(bundle.folder, config)
            self._engine = DecoderEngine(bundle.folder, config, self._rules, slots, cores, options.provider)
        read = partial(read_text, self._engine, self._rules, config, self._tokenizer)
        self._encoder = choose_encoder(bundle, options, opened.result if opened else cpu, read)
        self._feed: EncoderFeed[_Job, Heard] = EncoderFeed(
            self._encoder, config.max_source_positions, self._engine.projector.project
        )
        ways = {self._engine.decoder.arithmetic, getattr(self._encoder, "arithmetic", "kernels")}
        self._arithmetic = "graphs" if "graphs" in ways else "kernels"
        self._fallback = self._engine.fallback or getattr(self._encoder, "fallback", False)
        self._info = describe(bundle, config, self._encoder, options, slots)
        self._finished: list[WindowResult] = []
        self._started = 0
        self._unlikely: deque[_Unlikely] = deque()
        self._waited = 0  # steps for which there have been too few of them
        self._search: BeamSearch | None = None
        self._wide: dict[int, BeamSearch] = {}  # of windows that ask for a number of beams
        self._aligner: WordAligner | None = None
        self._open_listener = partial(self._engine.decoder.listener, threads)

    @property
    def info(self) -> ModelInfo:
        """Properties and capabilities of this model; `encoder_backend` is the current one."""
        if self._info.encoder_backend != self._encoder.backend:
            self._info = replace(self._info, encoder_backend=self._encoder.backend)
        return self._info

    def stats(self) -> Mapping[str, float]:
        """Counters and readings of the NPU ({} on a CPU)."""
        return self._encoder.stats() if isinstance(self._encoder, Monitored) else {}

    def room(self) -> int:
        """Number of further windows so that each slot finds its successor waiting."""
        return max(0, self._info.batch + AHEAD + 1 + self._searched() - self.pending())

    def pending(self) -> int:
        """Windows submitted and not returned."""
        return len(self._feed) + len(self._engine.running) + self._searched() + len(self._finished)

    def _searched(self) -> int:
        """Unlikely texts that wait for a search, or are in one."""
        return len(self._unlikely) + (len(self._search) if self._search else 0)

    def submit(self, request: WindowRequest) -> None:
        """Queue a window. Raises ItemError for options that the model does not support."""
        prompt = prompt_ids(self._config, self._tokenizer, request.options)
        job = _Job(request, self._rules.start(request.options, prompt))
        wanted = request.options
        self._feed.put(job, request.samples, cpu=wanted.cpu_encoder, whole=wanted.plain)

    def poll(self) -> list[WindowResult]:
        """Refill slots and step until at least one window ends."""
        while self.pending():
            self._refill()
            if not self._finished:
                self._step()
            if self._finished:
                results, self._finished = self._finished, []
                return results
        return []

    def _step(self) -> None:
        self._feed.advance()
        if self._engine.running and len(self._unlikely) < _QUEUE:
            for slot in self._engine.step():
                self._finish(slot)
        searched = self._searched()
        self._waited = self._waited + 1 if 0 < searched < _TOGETHER else 0
        if searched and (not self._waited or self._waited > _WAIT or not self._engine.running):
            self._search_unlikely()

    def _refill(self) -> None:
        while self._engine.free:
            ready = self._feed.take()
            if ready is None:
                return
            self._begin(ready)

    def _begin(self, ready: Ready[_Job, Heard]) -> None:
        job = ready.item
        job.backend, job.flags = ready.backend, ready.flags
        job.request = _without_samples(job.request)
        if ready.heard is None:
            self._finished.append(self._result(job, ready.error))
            return
        self._started += 1
        if self._started == _SETTLED and self._arithmetic == "graphs":  # kernels ask for such pages at once
            huge_pages.collapse()
        job.number = self._started // self._info.batch
        slot = Slot(job.request.key, job.decoding, sot_index(self._config, job.decoding.prompt), extra=job)
        if job.request.options.beam_size > 1 and job.request.options.temperature == 0:
            self._finished.append(self._with_beams(slot, job, ready.heard))
        else:
            self._engine.install(slot, ready.heard)

    def _with_beams(self, slot: Slot, job: _Job, cross: Heard) -> WindowResult:
        width = job.request.options.beam_size
        if width not in self._wide:
            self._wide[width] = self._beams(width, 1)
        search = self._wide[width]
        search.start(job, slot, cross)
        while not (ended := search.step()):
            pass
        found = max(ended[0][1], key=lambda text: text.decoding.avg_logprob)
        job.decoding = found.decoding
        return self._result(job, None, cross, found.listened)

    def _beams(self, width: int, together: int) -> BeamSearch:
        return BeamSearch(self._engine, self._rules, self._config.eot, width, together)

    def _finish(self, slot: Slot) -> None:
        job: _Job = slot.extra
        if _is_unlikely(slot.decoding):
            self._unlikely.append(_Unlikely(job, slot, self._engine.kept_of(slot)))
        else:
            error = "the decoder gave NaN" if slot.decoding.broken else None
            self._finished.append(self._result(job, error, self._engine.cross_of(slot), slot.listened))
        self._engine.release(slot)

    def _search_unlikely(self) -> None:
        """A step of the searches, of which a few run at once."""
        if self._search is None:
            self._search = self._beams(SEARCHED, _TOGETHER)
        while self._unlikely and self._search.free:
            window = self._unlikely.popleft()
            self._search.start(window, self._again(window.slot), window.cross)
        self._finished += [self._chosen(*pair) for pair in self._search.step()]

    def _again(self, slot: Slot) -> Slot:
        first = slot.decoding
        return replace(slot, decoding=self._rules.start(first.options, first.prompt), fed=0, listened=[])

    def _chosen(self, window: _Unlikely, found: Sequence[Beam]) -> WindowResult:
        """The result with the greedy text, or with a more likely one from the search."""
        best = most_likely(Beam(window.slot.decoding, window.slot.listened), found)
        window.job.decoding = best.decoding
        return self._result(window.job, None, window.cross, best.listened)

    def _words(self, job: _Job, cross: Heard) -> tuple[TimedWord, ...]:
        if self._aligner is None:
            self._aligner = WordAligner(self._open_listener(), self._config, self._tokenizer)
        state, samples = job.decoding, len(job.request.samples)
        return self._aligner.align(cross, state.prompt, state.tokens, samples, state.options.language)

    def _result(
        self,
        job: _Job,
        error: str | None,
        cross: Heard | None = None,
        listened: Sequence[Float32] = (),
    ) -> WindowResult:
        wants_words = job.request.options.word_timestamps and error is None
        return window_result(
            job.request,
            job.decoding,
            self._config,
            self._tokenizer,
            error=error,
            words=self._words(job, cross) if wants_words and cross is not None else None,
            listened=listened,
            backend=job.backend,
            batch=job.number,
            flags=(*job.flags, *(("fallback_provider",) if self._fallback else ())),
            arithmetic=self._arithmetic,
        )

    def detect_language(
        self, windows: Sequence[Samples], among: Sequence[str] = ()
    ) -> list[dict[str, float]]:
        """Probability of each language after start-of-transcript (empty for an English-only model)."""
        if not self._config.multilingual:
            return [{} for _ in windows]
        found = self._languages(windows, among, whole=False)
        if self._encoder.frames is not None:
            return found
        doubtful = [
            at
            for at, samples in enumerate(windows)
            if len(samples) < _BRIEF and max(found[at].values(), default=0.0) < _SURE
        ]
        again = self._languages([windows[at] for at in doubtful], among, whole=True)
        for at, chances in zip(doubtful, again, strict=True):
            found[at] = chances
        return found

    def _languages(
        self, windows: Sequence[Samples], among: Sequence[str], *, whole: bool
    ) -> list[dict[str, float]]:
        every = self._feed.encode(windows, lambda _: whole)
        rows = (self._engine.first_logits(hidden) for hidden in every)
        return [dict(language_chances(row, self._config, among)) for row in rows]

    def confirm(self) -> bool:
        """Whether windows since the last call can be trusted; see the encoder."""
        return self._encoder.confirm()

    def occupancy(self) -> tuple[int, int]:
        """Slot-steps used and available."""
        return self._engine.used, self._engine.available

    def close(self) -> None:
        """Forget queued windows and release the device."""
        self._feed.clear()
        self._unlikely.clear()
        self._search = None
        self._engine.close()
        self._encoder.close()


def _without_samples(request: WindowRequest) -> WindowRequest:
    """The request with as many samples that take no memory: the encoder has heard them."""
    return replace(request, samples=np.broadcast_to(np.float32(0), len(request.samples)))


def _is_unlikely(first: Decoding) -> bool:
    if first.broken or not first.tokens:
        return False
    doubtful = sum(logprob < _DOUBTFUL for logprob in first.logprobs)
    return doubtful > first.options.search_above * len(first.tokens)

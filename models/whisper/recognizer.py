"""Whisper compiled with `asr-batch models compile`: the fast engine.

Windows of any file and with any options decode together in slots (:mod:`engine`); a window's text does not
depend on the batch. Word times come from a second decoder graph, opened when a window first needs them.
A window keeps its slot while branches of its text are decoded there, and in rows that no window needs.
"""

from __future__ import annotations

import os
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
    DecodeOptions,
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
from asr_batch.models.whisper.engine.beam import BeamSearch
from asr_batch.models.whisper.engine.branches import Branches
from asr_batch.models.whisper.engine.choose import FastRules
from asr_batch.models.whisper.engine.decoder import Heard
from asr_batch.models.whisper.engine.encoder import AHEAD, CpuEncoder
from asr_batch.models.whisper.engine.feed import EncoderFeed, Ready
from asr_batch.models.whisper.engine.read import read_text
from asr_batch.models.whisper.engine.slots import DecoderEngine, Slot
from asr_batch.models.whisper.engine.words import WordAligner
from asr_batch.models.whisper.opening import choose_encoder, describe, wants_npu, window_of
from asr_batch.models.whisper.outcome import window_result
from asr_batch.models.whisper.recurring import recurring_doubt
from asr_batch.models.whisper.rules import Decoding, language_chances
from asr_batch.models.whisper.tokenizer import WhisperTokenizer, open_prompt_ids, sot_index

SLOTS = 16
"""Default number of windows that decode together. Each step reads the weights once for all of them: with
24, a window takes 7 % less time in the decoder and 2 % less in total; a slot takes 3 MB at Whisper-tiny's
size.
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
    """A window in progress, and the search for a likelier text than the first one."""

    request: WindowRequest
    decoding: Decoding
    search: Branches | None = None
    number: int = 0
    backend: str = "cpu"
    flags: tuple[str, ...] = ()
    doubt: float = 0.0


class CompiledWhisper:
    """A compiled Whisper; implements `Recognizer`."""

    def __init__(self, bundle: Bundle, config: WhisperConfig, options: LoadOptions) -> None:
        threads = options.threads or os.cpu_count() or 1
        self._config = config
        self._rules = FastRules(config)
        slots = options.batch_size or SLOTS
        cores = self._cores = Cores(threads)
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
        self._pending = 0
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
        return max(0, self._info.batch + AHEAD + 1 - self._pending)

    def pending(self) -> int:
        """Windows submitted and not returned."""
        return self._pending

    def submit(self, request: WindowRequest) -> None:
        """Queue a window. Raises ItemError for options that the model does not support."""
        prompt = open_prompt_ids(self._config, self._tokenizer, request.options)
        job = _Job(request, self._rules.start(request.options, prompt))
        wanted = request.options
        again = self._config.multilingual and _may_be_compared(wanted)
        self._feed.put(job, request.samples, cpu=wanted.cpu_encoder, whole=wanted.plain, again=again)
        self._pending += 1

    def poll(self) -> list[WindowResult]:
        """Refill slots and step until at least one window ends."""
        while self._pending:
            self._refill()
            if not self._finished:
                self._step()
            if self._finished:
                results, self._finished = self._finished, []
                self._pending -= len(results)
                return results
        return []

    def _step(self) -> None:
        self._feed.advance()
        self._engine.step()
        for slot in tuple(self._engine.running):
            job: _Job = slot.extra
            if slot.branch is None and slot.decoding.done:
                self._finish(slot, job)
            elif slot.branch is not None and job.search is not None and job.search.ends(slot.branch):
                self._search(slot, job, job.search)

    def _refill(self, *, wait: bool = True) -> None:
        """Fill the slots; wait for windows while these keep all cores busy, or nothing else can be done."""
        while self._engine.free:
            pays = not self._engine.running or len(self._feed) >= self._cores.count
            ready = self._feed.take(wait=wait and pays)
            if ready is None:
                break
            self._begin(ready)
        self._spread()

    def _spread(self) -> None:
        """Let the searches with the most branches use rows that no window needs."""
        slots = {id(slot.extra): slot for slot in self._engine.running if slot.branch is not None}.values()
        while self._engine.rows and slots:
            slot = max(slots, key=lambda slot: len(slot.extra.search))
            branch = slot.extra.search.begin()
            if branch is None:
                return
            self._engine.beside(slot, branch)

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
        if job.request.options.beam_size > 1:
            self._finished.append(self._with_beams(slot, job, ready.heard))
        else:
            self._engine.install(slot, ready.heard)

    def _with_beams(self, slot: Slot, job: _Job, cross: Heard) -> WindowResult:
        width = job.request.options.beam_size
        if width not in self._wide:
            self._wide[width] = BeamSearch(self._engine, self._rules, self._config.eot, width)
        texts = self._wide[width].run(slot, cross)
        found = max(texts, key=lambda text: text.decoding.avg_logprob)
        job.decoding = found.decoding
        return self._result(job, None, cross, found.listened)

    def _finish(self, slot: Slot, job: _Job) -> None:
        """A first text has ended: look for a likelier one, or return it."""
        first = slot.decoding
        if first.searched and first.tokens and not first.broken:
            job.doubt = recurring_doubt(first, self._tokenizer)
            job.search = Branches(first, slot.listened, self._config.eot)
            self._search(slot, job, job.search)
        else:
            error = "the decoder gave NaN" if first.broken else None
            self._return(slot, job, slot.listened, error)

    def _search(self, slot: Slot, job: _Job, search: Branches) -> None:
        """Decode another branch in the slot, or release it; the last slot returns what was found."""
        branch = search.begin()
        if branch is not None:
            self._engine.follow(slot, branch)
        elif search.over:
            job.decoding, listened = search.best()
            self._return(slot, job, listened)
        else:
            self._engine.release(slot)

    def _return(self, slot: Slot, job: _Job, listened: Sequence[Float32], error: str | None = None) -> None:
        self._finished.append(self._result(job, error, self._engine.cross_of(slot), listened))
        self._engine.release(slot)

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
            recurring_doubt=job.doubt,
        )

    def detect_language(
        self, windows: Sequence[Samples], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        """Probability of each language after start-of-transcript (empty for an English-only model)."""
        if not self._config.multilingual:
            return [{} for _ in windows]
        every = self._feed.encode(windows, whole=whole, meanwhile=self._go_on)
        rows = (self._engine.first_logits(hidden) for hidden in every)
        return [dict(language_chances(row, self._config, among)) for row in rows]

    def _go_on(self) -> bool:
        """One step of the windows in the slots, without waiting for others; False if there are none.

        With a step over few windows, which takes nearly as long as over many, encoding does not wait.
        """
        if self._cores.wanted:
            return False
        self._refill(wait=False)
        if not self._engine.running:
            return False
        self._step()
        return True

    def confirm(self) -> bool:
        """Whether windows since the last call can be trusted; see the encoder."""
        return self._encoder.confirm()

    def occupancy(self) -> tuple[int, int]:
        """Slot-steps used and available."""
        return self._engine.used, self._engine.available

    def close(self) -> None:
        """Forget queued windows and release the device."""
        self._feed.clear()
        self._pending = 0
        self._engine.close()
        self._encoder.close()


def _may_be_compared(options: DecodeOptions) -> bool:
    """Whether other languages may be tried on the same window: it has none, or this is such a try.

    Such tries are greedy and have no draft. As long as states of any window are kept, every window is
    hashed to look for them.
    """
    greedy = options.beam_size == 1 and not (options.search or options.plain)
    return options.language is None or (greedy and not options.draft)


def _without_samples(request: WindowRequest) -> WindowRequest:
    """The request with as many samples that take no memory: the encoder has heard them."""
    return replace(request, samples=np.broadcast_to(np.float32(0), len(request.samples)))

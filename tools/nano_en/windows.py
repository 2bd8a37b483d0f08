"""Joins utterances to windows, augments them, and stacks them to batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from nano_en.corpus import MELS, Spoken
from nano_en.network import EOT, FIRST_TIME, NO_SPEECH, NO_TIMESTAMPS, SOT, ctc_classes
from nano_en.phases import Stage

Float32 = NDArray[np.float32]
SILENCE = -10.0
_POOL = 400
_ANCHORS = [0, 20, 40, 60, 79]  # mel bins between which spectral shapes are drawn


@dataclass(frozen=True, slots=True)
class Window:
    """Log-mel power [frames, 80], token ids with start and end, CTC classes of the text."""

    mel: Float32
    ids: list[int]
    classes: list[int]


class WindowMaker:
    """Draws windows; all randomness comes from one generator."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self.tokenizer = tokenizer
        self.rng = np.random.default_rng(seed)

    def join(self, parts: Sequence[Spoken], *, times: bool, noise: float) -> Window:
        """Utterances with pauses between them; `times` adds start and end tokens."""
        mels: list[Float32] = []
        ids: list[int] = []
        at = 0
        for i, part in enumerate(parts):
            gap = int(self.rng.integers(0, 60) if i == 0 else self.rng.integers(8, 90))
            mels += [self._silence(gap), np.asarray(part.mel, np.float32)]
            at += gap
            spoken = self.tokenizer.encode(" " + part.text).ids
            end = at + len(part.mel)
            ids += [FIRST_TIME + round(at / 2), *spoken, FIRST_TIME + round(end / 2)] if times else spoken
            at = end
        mels.append(self._silence(int(self.rng.integers(0, 60))))
        prompt = [SOT] if times else [SOT, NO_TIMESTAMPS]
        text = " ".join(part.text for part in parts)
        return Window(self.augment(np.concatenate(mels), noise), [*prompt, *ids, EOT], ctc_classes(text))

    def empty(self, noise: float) -> Window:
        """A window without speech, usually with the no-speech token."""
        frames = int(self.rng.integers(100, 1000))
        mel = self.augment(self._silence(frames) + np.float32(self.rng.uniform(0, 5)), noise)
        mark = NO_SPEECH if self.rng.random() < 0.7 else NO_TIMESTAMPS
        return Window(mel, [SOT, mark, EOT], [])

    def augment(self, mel: Float32, noise: float) -> Float32:
        """Warp the frequency axis, colour the spectrum, add noise with probability `noise`."""
        mel = _warp(mel, round(self.rng.uniform(0.95, 1.05), 2))
        if self.rng.random() < 0.3:
            mel = mel + self._shape(0.0, 0.35)
        if self.rng.random() < noise:
            shape = self._shape(-2.0, 0.6) - np.linspace(0, self.rng.uniform(0, 1), MELS)
            level = self.rng.uniform(-4.5, -1.2) + mel.max()
            grain = np.log10(self.rng.exponential(1.0, mel.shape) + 1e-3)
            mel = np.log10(10.0**mel + 10.0 ** (level + shape + grain))
        return mel.astype(np.float32)

    def _shape(self, mean: float, spread: float) -> Float32:
        drawn = self.rng.normal(mean, spread, len(_ANCHORS))
        return np.interp(np.arange(MELS), _ANCHORS, drawn).astype(np.float32)

    def _silence(self, frames: int) -> Float32:
        return np.full((frames, MELS), SILENCE, np.float32)

    def batches(self, items: Sequence[Spoken], stage: Stage) -> Iterator[tuple[list[Window], int]]:
        """Endless batches of windows of similar length, with the frames to pad them to (0: the longest)."""
        items = [item for item in items if len(item.mel) <= stage.longest]
        size = min(_POOL, len(items))
        while True:
            order = self.rng.permutation(len(items))
            for start in range(0, len(order) - size + 1, size):
                pool = [items[j] for j in order[start : start + size]]
                yield from self._groups(pool, stage)

    def _groups(self, pool: list[Spoken], stage: Stage) -> Iterator[tuple[list[Window], int]]:
        many = self.rng.random() < stage.long_share
        windows = list(self._pack(pool, stage, many)) + [self.empty(stage.noise) for _ in range(6)]
        windows.sort(key=lambda window: len(window.mel))
        groups: list[list[Window]] = [[]]
        for window in windows:
            if groups[-1] and (len(groups[-1]) + 1) * len(window.mel) > stage.frames:
                groups.append([])
            groups[-1].append(window)
        for i in self.rng.permutation(len(groups)):
            full = 1000 if not many and self.rng.random() < stage.full_share else 0
            if full and self.rng.random() < 0.12:
                yield groups[i][:4], 3000
            else:
                yield groups[i], full

    def _pack(self, pool: list[Spoken], stage: Stage, many: bool) -> Iterator[Window]:
        """Join the pool's utterances in order to windows of up to 10 or 30 s."""
        limit, i = (3000 if many else 1000), 0
        while i < len(pool):
            alone = not many and self.rng.random() < stage.single_share
            count = 1 if alone else int(self.rng.integers(2, 10 if many else stage.most))
            parts, frames = [pool[i]], len(pool[i].mel) + 50
            i += 1
            while i < len(pool) and len(parts) < count and frames + len(pool[i].mel) + 110 < limit:
                frames += len(pool[i].mel) + 50
                parts.append(pool[i])
                i += 1
            times = self.rng.random() < (0.5 if many else 0.35)
            window = self.join(parts, times=bool(times), noise=stage.noise)
            if len(window.mel) <= limit:
                yield window

    def collate(self, group: Sequence[Window], full: int, mask: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Features [B, 80, frames] and targets [B, tokens] (-100 after the end)."""
        frames = max(full, *(len(window.mel) for window in group))
        frames += frames % 2
        mels = np.full((len(group), frames, MELS), SILENCE, np.float32)
        targets = np.full((len(group), max(len(window.ids) for window in group)), -100)
        for i, window in enumerate(group):
            mels[i, : len(window.mel)] = window.mel
            mels[i] = normalise(mels[i])
            targets[i, : len(window.ids)] = window.ids
            if mask:
                self._mask(mels[i])
        return torch.tensor(mels).transpose(1, 2), torch.tensor(targets)

    def _mask(self, mel: Float32) -> None:
        """SpecAugment: one band of bins and one stretch of frames replaced by the mean, in place."""
        bins, frames = int(self.rng.integers(0, 9)), int(self.rng.integers(0, 12))
        first_bin = int(self.rng.integers(0, MELS - bins))
        first = int(self.rng.integers(0, max(1, len(mel) - frames)))
        mel[:, first_bin : first_bin + bins] = mel.mean()
        mel[first : first + frames] = mel.mean()


def _warp(mel: Float32, factor: float) -> Float32:
    """Stretch the mel axis by `factor`, to imitate another vocal tract."""
    place = np.clip(np.arange(MELS) * factor, 0, MELS - 1)
    low = place.astype(int)
    share = (place - low).astype(np.float32)
    return mel[:, low] * (1 - share) + mel[:, np.minimum(low + 1, MELS - 1)] * share


def normalise(mel: Float32) -> Float32:
    """Whisper's scaling of a window: clamp to 8 below its maximum, then (x + 4) / 4."""
    return (np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0

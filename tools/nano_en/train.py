"""One training loop for all phases: cross-entropy of the decoder and CTC of the encoder."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from nano_en import corpus, network
from nano_en.network import EOT, NO_TIMESTAMPS, Network
from nano_en.phases import Phase, Stage
from nano_en.windows import WindowMaker


def train(phase: Phase, folder: Path, tokenizer: Tokenizer, weights: Path, start: Path | None) -> list[float]:
    """Train for the phase's minutes and write `weights`; returns the mean loss of every tenth of the time."""
    torch.manual_seed(phase.seed)
    torch.set_flush_denormal(True)
    model = network.load(start, tokenizer, phase.dropout) if start else Network(tokenizer, phase.dropout)
    items = corpus.load(folder, "train")
    if not items:
        raise SystemExit(f"{folder}: no speech; run the step `synth` first")
    print(f"phase {phase.name}: {len(items)} utterances, {phase.minutes:g} minutes")
    maker = WindowMaker(tokenizer, phase.seed)
    trainer = _Trainer(model, phase, maker)
    losses = trainer.run(items)
    network.save(model, weights)
    return losses


class _Trainer:
    """The state of one phase."""

    def __init__(self, model: Network, phase: Phase, maker: WindowMaker) -> None:
        self.model, self.phase, self.maker = model.train(), phase, maker
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=phase.rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.step = 0

    def run(self, items: list[corpus.Spoken]) -> list[float]:
        started, budget = time.monotonic(), self.phase.minutes * 60
        stage: Stage | None = None
        tenths: list[list[float]] = [[] for _ in range(10)]
        while (share := (time.monotonic() - started) / budget) < 1.0:
            wanted = next(one for one in self.phase.stages if share < one.until or one.until == 1.0)
            if wanted is not stage:
                stage, batches = wanted, self.maker.batches(items, wanted)
            group, full = next(batches)
            loss = self._update(group, full, share)
            tenths[min(9, int(10 * share))].append(loss)
            if self.step % 50 == 0:
                print(f"  {100 * share:3.0f} %  step {self.step}  loss {loss:.3f}", flush=True)
        return [sum(part) / len(part) for part in tenths if part]

    def _update(self, group: list, full: int, share: float) -> float:
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = self._rate(share)
        loss = self._loss(group, full, share)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.step += 1
        return loss.item()

    def _rate(self, share: float) -> float:
        flat = self.phase.flat
        decay = 1.0 if share < flat else max(0.01, 1 - (share - flat) / (1 - flat))
        return self.phase.rate * min(1.0, (self.step + 1) / self.phase.warmup) * decay

    def _loss(self, group: list, full: int, share: float) -> torch.Tensor:
        mel, target = self.maker.collate(group, full, mask=share > 0.3 or self.phase.name != "general")
        with torch.autocast("cpu", torch.bfloat16, enabled=self.phase.half):
            hidden = self.model.encode(mel)
            fed = target[:, :-1].masked_fill(target[:, :-1] == -100, EOT)
            logits = self.model.decode(fed, self._continued(hidden, share))
            heard = self.model.ctc(hidden)
        wanted = target[:, 1:].masked_fill(target[:, 1:] == NO_TIMESTAMPS, -100)  # the prompt is given
        spelled = functional.cross_entropy(
            logits.float().flatten(0, 1), wanted.flatten(), label_smoothing=self.phase.smoothing
        )
        weight = next(weight for until, weight in self.phase.ctc if share < until or until == 1.0)
        return (1 - weight) * spelled + weight * _ctc_loss(heard, group)

    def _continued(self, hidden: torch.Tensor, share: float) -> torch.Tensor:
        """Sometimes extend the hidden states with zeros to 1500 positions."""
        if share < self.phase.pad_from or self.maker.rng.random() >= self.phase.pad_share:
            return hidden
        return functional.pad(hidden, (0, 0, 0, 1500 - hidden.shape[1]))


def _ctc_loss(heard: torch.Tensor, group: list) -> torch.Tensor:
    classes = [torch.tensor(window.classes, dtype=torch.long) for window in group]
    return functional.ctc_loss(
        heard.float().log_softmax(-1).transpose(0, 1),
        torch.cat(classes),
        torch.full((len(group),), heard.shape[1]),
        torch.tensor([len(one) for one in classes]),
        zero_infinity=True,
    )

"""The parameters of the four training phases. Each starts from the weights of the previous one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """How windows are drawn, up to the share `until` of the phase.

    `longest` utterance in frames, `long_share` of pools joined to windows up to 30 s, `full_share` of
    batches padded to 10 s, `single_share` of windows with one utterance, `most` utterances (exclusive) in
    the others, `noise` probability, `frames` in a batch.
    """

    until: float
    longest: int = 980
    long_share: float = 0.0
    full_share: float = 0.0
    single_share: float = 0.55
    most: int = 4
    noise: float = 0.1
    frames: int = 9000


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase: corpus, minutes on two CPU cores, learning rate (peak, warm-up steps, decay share).

    `pad_share` of batches have their encoder output extended with zeros to 1500 positions, from `pad_from`
    on, so that folded padding of short windows is in the training distribution. `ctc` are the weights of
    the CTC loss, and the shares of the phase up to which they apply.
    """

    name: str
    corpus: str
    minutes: float
    seed: int
    rate: float
    warmup: int
    flat: float
    stages: tuple[Stage, ...]
    ctc: tuple[tuple[float, float], ...]
    pad_share: float = 0.25
    pad_from: float = 0.0
    smoothing: float = 0.03
    dropout: float = 0.0
    half: bool = False


GENERAL = Phase(
    "general", "general", 90, 0, 1.6e-3, 400, 0.3,
    (
        Stage(0.1, longest=300, single_share=1.0, frames=7000),
        Stage(0.3, longest=500, single_share=1.0),
        Stage(0.75, single_share=0.7, noise=0.4),
        Stage(1.0, single_share=0.7, noise=0.4, full_share=0.5),
    ),
    ctc=((0.35, 0.5), (0.7, 0.3), (1.0, 0.15)),
    pad_share=0.35, pad_from=0.4, smoothing=0.05, dropout=0.05, half=True,
)  # fmt: skip
DOMAIN = Phase(
    "domain", "domain", 78, 1, 1.4e-3, 300, 0.3,
    (
        Stage(0.35, full_share=0.05),
        Stage(0.8, long_share=0.1, full_share=0.2, noise=0.3),
        Stage(1.0, long_share=0.15, full_share=0.35, noise=0.3),
    ),
    ctc=((0.5, 0.4), (1.0, 0.2)), pad_from=0.4,
)  # fmt: skip
LONG = Phase(
    "long", "domain", 19, 1, 5e-4, 60, 0.15,
    (Stage(1.0, long_share=0.5, full_share=0.3, noise=0.3),),
    ctc=((0.5, 0.4), (1.0, 0.2)),
)  # fmt: skip
DENSE = Phase(
    "dense", "domain", 10, 6, 4e-4, 60, 0.15,
    (Stage(1.0, long_share=0.3, full_share=0.3, single_share=0.25, most=5, noise=0.15),),
    ctc=((0.5, 0.4), (1.0, 0.2)),
)  # fmt: skip
PHASES = (GENERAL, DOMAIN, LONG, DENSE)
SMOKE = Phase(
    "smoke", "domain", 0.35, 0, 2e-3, 10, 0.3,
    (Stage(1.0, longest=400, single_share=1.0, frames=3000),),
    ctc=((1.0, 0.5),),
)  # fmt: skip
"""Long enough to see the loss fall, far too short to recognise anything."""

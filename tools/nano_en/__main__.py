"""`python -m nano_en STEP --work DIR`: the steps of the recipe, each using the files of the previous one."""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import shutil
from pathlib import Path

from nano_en.text import domain_text, general_text, write_text

STEPS = ("text", "synth", "train", "export", "compile", "evaluate")


def main() -> None:
    """Run one step, `all` except `published`, or `smoke`: everything on a few sentences in about a minute."""
    parser = argparse.ArgumentParser(prog="python -m nano_en", description=main.__doc__)
    parser.add_argument("step", choices=(*STEPS, "published", "all", "smoke"))
    parser.add_argument("--work", type=Path, default=Path("out/nano_en"), help="working folder")
    parser.add_argument("--workers", type=int, default=2, help="processes for synthesis")
    parser.add_argument("--minutes", type=float, default=1.0, help="factor for the minutes of each phase")
    chosen = parser.parse_args()
    if chosen.step == "smoke":
        smoke(chosen.work / "smoke", chosen.workers)
        return
    for step in STEPS if chosen.step == "all" else (chosen.step,):
        print(f"== {step}")
        run(step, chosen.work, chosen.workers, chosen.minutes)


def run(step: str, work: Path, workers: int, factor: float) -> None:
    """One step at full size."""
    if step == "text":
        write_text(work / "general.json", general_text(14_000, 12_000))
        write_text(work / "domain.json", domain_text(46_000, 900))
    elif step == "synth":
        synth(work, "general", workers)
        synth(work, "domain", workers)
    elif step == "train":
        train(work, factor)
    elif step == "export":
        from nano_en.export import export

        export(work / "dense.pt", work / "bpe.json", work / "nano.en")
    elif step == "compile":
        from asr_batch.models.whisper.compile.bundle import compile_bundle

        compile_bundle(work / "nano.en", work / "bundle", window=10.0)
    elif step == "published":
        from nano_en.published import export_published

        export_published(work / "nano.en", work / "nano.en" / "onnx")
    else:
        from nano_en.evaluate import evaluate

        evaluate(work / "nano.en", work / "test" / "manifest.csv", 200)


def synth(work: Path, name: str, workers: int) -> None:
    """Synthesise one text; also write the in-domain test sentences as files."""
    from nano_en.corpus import synthesise

    text = _text(work / f"{name}.json")
    synthesise(work / name, "train", text["train"], workers=workers)
    synthesise(
        work / name, "test", text["test"], workers=workers, wav=work / "test" if name == "domain" else None
    )


def train(work: Path, factor: float) -> None:
    """Run all phases, each starting from the weights of the previous one."""
    from nano_en.network import train_tokenizer
    from nano_en.phases import PHASES
    from nano_en.train import train as train_phase

    tokenizer = train_tokenizer(_text(work / "general.json")["train"], work / "bpe.json")
    start: Path | None = None
    for phase in PHASES:
        shortened = dataclasses.replace(phase, minutes=phase.minutes * factor)
        weights = work / f"{phase.name}.pt"
        train_phase(shortened, work / phase.corpus, tokenizer, weights, start)
        start = weights


def smoke(work: Path, workers: int) -> None:
    """Run all steps except `published` on 60 sentences; fails unless the loss falls and the folder loads."""
    from asr_batch.models.inspect.report import inspect_model
    from nano_en.corpus import synthesise
    from nano_en.evaluate import evaluate
    from nano_en.export import export
    from nano_en.network import train_tokenizer
    from nano_en.phases import SMOKE
    from nano_en.train import train as train_phase

    shutil.rmtree(work, ignore_errors=True)
    text = domain_text(60, 4)
    write_text(work / "domain.json", text)
    synthesise(work / "domain", "train", text["train"], workers=workers)
    synthesise(work / "domain", "test", text["test"], workers=workers, wav=work / "test")
    tokenizer = train_tokenizer(text["train"] + _pseudo_words(3000), work / "bpe.json")
    losses = train_phase(SMOKE, work / "domain", tokenizer, work / "smoke.pt", None)
    if losses[-1] > 0.8 * losses[0]:
        raise SystemExit(f"the loss did not fall: {losses}")
    export(work / "smoke.pt", work / "bpe.json", work / "nano.en")
    evaluate(work / "nano.en", work / "test" / "manifest.csv")
    run("compile", work, workers, 1.0)
    verdict = inspect_model(work / "bundle").verdict
    if not verdict.good:
        raise SystemExit(f"the compiled bundle does not run: {verdict.reason}")
    print(f"smoke test passed: loss {losses[0]:.1f} → {losses[-1]:.1f}; {work / 'bundle'} runs")


def _pseudo_words(count: int) -> list[str]:
    """Words of random syllables, so that sixty sentences are enough for two thousand tokens."""
    rng = random.Random(5)
    syllables = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in "lnrst"]
    return ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(count)]


def _text(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        raise SystemExit(f"{path}: missing; run the step `text` first")
    text: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return text


if __name__ == "__main__":
    main()

"""Sentences to synthesise: in-domain ones from templates, and general English for the first phase."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from nano_en import words as w

FORTUNES = Path("/usr/share/games/fortunes")
DICTIONARY = Path("/usr/share/dict/words")


class _Draw:
    """Words drawn for one sentence, and methods to draw more."""

    def __init__(self, rng: random.Random) -> None:
        self.pick, self.between = rng.choice, rng.randint
        self.thing, self.other = rng.sample(w.THINGS, 2)
        self.kind, self.other_kind = rng.sample(w.ADJECTIVES, 2)
        self.who, self.whom = rng.sample(w.NAMES, 2)
        self.place, self.day = rng.choice(w.PLACES), rng.choice(w.DAYS)

    def count(self, low: int, high: int) -> str:
        """A number in words."""
        return w.number(self.between(low, high))

    def digits(self, count: int) -> str:
        """Digits in words, separated by spaces."""
        return " ".join(w.ONES[self.between(0, 9)] for _ in range(count))


Template = Callable[[], str]


def _orders_and_facts(d: _Draw) -> tuple[Template, ...]:
    return (
        lambda: (
            f"The {d.thing} leaves {d.place} at {d.count(1, 12)} "
            f"{d.count(10, 59)} in the {d.pick(w.DAYTIMES)}."
        ),
        lambda: (
            f"{d.who} and {d.whom} met in {d.place} on {d.day}, {d.pick(w.MONTHS)} the {d.pick(w.ORDINALS)}."
        ),
        lambda: f"Please send {d.count(2, 9999)} {w.plural(d.thing)} to {d.who} in {d.place}.",
        lambda: f"The code is {d.digits(d.between(3, 7)).replace(' ', ', ')}.",
        lambda: d.digits(d.between(1, 10)).capitalize() + ".",
        lambda: d.digits(d.between(2, 8)).capitalize() + ".",
        lambda: f"{d.who} {d.pick(w.VERBS)} the {d.kind} {d.thing} near the {d.other}.",
        lambda: f"How many {w.plural(d.thing)} are there in the {d.other}?",
        lambda: f"My name is {d.who} and I live in {d.place}.",
        lambda: (
            f"There are {d.count(2, 999)} {w.plural(d.thing)} and {d.count(2, 99)} {w.plural(d.other)} "
            f"in the {d.pick(w.THINGS)}."
        ),
        lambda: (
            f"Turn {d.pick(['left', 'right'])} after the {d.kind} {d.thing} and walk {d.count(2, 900)} "
            f"{d.pick(['meters', 'miles', 'kilometers'])}."
        ),
        lambda: f"On {d.day} it will be {d.pick(w.WEATHER)} in {d.place}, with {d.count(1, 35)} degrees.",
        lambda: f"The {d.kind} {d.thing} costs {d.count(2, 999)} dollars and {d.count(1, 99)} cents.",
        lambda: f"Call {d.who} at {d.digits(7)}.",
        lambda: (
            f"In {d.pick(['nineteen', 'eighteen', 'twenty'])} {d.count(10, 99)} the {d.thing} of {d.place} "
            "was closed."
        ),
        lambda: f"{d.who}, open the {d.thing} and close the {d.other}.",
    )


def _people_and_places(d: _Draw) -> tuple[Template, ...]:
    return (
        lambda: f"Good {d.pick(w.DAYTIMES)}, this is {d.who} speaking from {d.place}.",
        lambda: f"Thank you, {d.who}, see you next {d.day}.",
        lambda: (
            f"The {d.pick(w.ORDINALS)} {d.thing} is "
            f"{d.pick(w.PLACEMENTS)} the {d.pick(w.ORDINALS)} {d.other}."
        ),
        lambda: d.pick(w.PHRASES),
        lambda: (
            f"The {d.pick(w.JOBS)} {d.pick(w.VERBS)} {d.count(2, 40)} {d.kind} "
            f"{w.plural(d.thing)} last {d.day}."
        ),
        lambda: f"Did the {d.pick(w.JOBS)} see the {d.kind} {d.pick(w.ANIMALS)} in the {d.thing}?",
        lambda: (
            f"{d.who} wants {d.pick(w.FOODS)} and {d.pick(w.FOODS)}, "
            f"but {d.whom} only wants {d.pick(w.FOODS)}."
        ),
        lambda: (
            f"We need {d.count(2, 60)} {w.plural(d.pick(w.FOODS))} and {d.count(2, 20)} {w.plural(d.thing)} "
            f"for {d.day}."
        ),
        lambda: (
            f"The {d.pick(w.ANIMALS)} sleeps under the {d.kind} {d.thing}, and the {d.pick(w.ANIMALS)} waits "
            f"behind the {d.other}."
        ),
        lambda: (
            f"It takes {d.count(2, 95)} {d.pick(['minutes', 'hours', 'seconds'])} from {d.place} to "
            f"{d.pick(w.PLACES)}."
        ),
        lambda: (
            f"The temperature in the {d.thing} is {d.count(0, 99)} point {w.ONES[d.between(0, 9)]} degrees."
        ),
        lambda: (
            f"{d.count(1, 99).capitalize()} percent of the {w.plural(d.thing)} in {d.place} are {d.kind}."
        ),
        lambda: f"Is the {d.thing} {d.kind} or {d.other_kind}?",
        lambda: f"The {d.kind} {d.thing} and the {d.other_kind} {d.other} belong to {d.who}.",
        lambda: f"Flight {d.digits(3)} to {d.place} departs from gate {d.count(1, 80)}.",
        lambda: f"Room {d.count(1, 400)} is on the {d.pick(w.ORDINALS)} floor, next to the {d.thing}.",
        lambda: f"Write {d.count(1, 9999)} in the {d.kind} {d.thing}, please.",
        lambda: f"{d.who} is a {d.pick(w.JOBS)} and {d.whom} is a {d.pick(w.JOBS)}.",
        lambda: f"The distance is {d.count(2, 999)} {d.pick(w.UNITS)}.",
        lambda: f"Today is {d.day}, the {d.pick(w.ORDINALS)} of {d.pick(w.MONTHS)}.",
    )


def domain_sentence(rng: random.Random) -> str:
    """One sentence about numbers, dates, names, places, things, orders and everyday life."""
    draw = _Draw(rng)
    return rng.choice((*_orders_and_facts(draw), *_people_and_places(draw)))()


def domain_text(count: int, tests: int, seed: int = 77) -> dict[str, list[str]]:
    """Distinct in-domain sentences (phrases may repeat): `count` for training, `tests` for testing."""
    rng = random.Random(seed)
    seen: set[str] = set()
    train: list[str] = []
    while len(train) < count:
        sentence = domain_sentence(rng)
        if sentence not in seen or sentence in w.PHRASES:
            seen.add(sentence)
            train.append(sentence)
    test: list[str] = []
    while len(test) < tests:
        sentence = domain_sentence(rng)
        if sentence not in seen:
            seen.add(sentence)
            test.append(sentence)
    return {"train": train, "test": test}


def general_text(templates: int, salads: int, seed: int = 20261120) -> dict[str, list[str]]:
    """Quotations, templates and random words: general English for the first phase.

    Needs the Debian packages fortunes and wamerican; raises FileNotFoundError without them.
    """
    rng = random.Random(seed)
    quotes = sorted(set(_quotes()))
    counts = Counter(re.findall(r"[a-z']+", " ".join(quotes).lower()))
    common = [word for word, count in counts.items() if count >= 2 and len(word) > 1]
    rare = re.findall(r"^[a-z]{3,11}$", DICTIONARY.read_text("utf-8"), flags=re.M)

    def salad() -> str:
        pool = [rng.choice(common if rng.random() < 0.6 else rare) for _ in range(rng.randint(2, 8))]
        return " ".join(pool).capitalize() + "."

    rng.shuffle(quotes)
    test, train = quotes[:600], quotes[600:]
    train += [domain_sentence(rng) for _ in range(templates)] + [salad() for _ in range(salads)]
    rng.shuffle(train)
    return {"train": train, "test": test + [domain_sentence(rng) for _ in range(200)]}


def _quotes() -> Iterator[str]:
    """Sentences of 2 to 16 plain words from the fortune files."""
    for path in sorted(FORTUNES.iterdir()):
        if path.is_symlink() or path.suffix or path.name == "ascii-art":
            continue
        for quote in re.split(r"\n%\n", path.read_text("utf-8", "ignore")):
            text = re.sub(r"\s+", " ", re.sub(r"\n\s*--.*", "", quote, flags=re.S))
            yield from filter(None, map(_plain, re.split(r"(?<=[.!?])\s+", text)))


def _plain(sentence: str) -> str | None:
    """The sentence with simple punctuation, or None if it is not plain."""
    for old, new in (("--", ","), ("``", ""), ("''", ""), ('"', ""), (";", ","), (":", ",")):
        sentence = sentence.replace(old, new)
    sentence = re.sub(r"\s+,", ",", re.sub(r"\.{2,}", ".", sentence))
    sentence = re.sub(r",\s*([.!?])", r"\1", sentence).strip(" ,")
    plain = re.fullmatch(r"[A-Za-z][A-Za-z',.!? -]*[.!?]", sentence)
    shouted = any(word.isupper() and len(word) > 1 for word in sentence.split())
    if not plain or shouted or len(sentence) > 110 or not 2 <= len(sentence.split()) <= 16:
        return None
    return sentence[0].upper() + sentence[1:]


def write_text(path: Path, text: dict[str, list[str]]) -> None:
    """Write a text as JSON: {"train": [...], "test": [...]}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(text, indent=0), encoding="utf-8")
    known = set(re.findall(r"[a-z']+", " ".join(text["train"]).lower()))
    print(f"{path}: {len(text['train'])} sentences to train, {len(text['test'])} to test, {len(known)} words")


def plain_words(text: str) -> str:
    """Lower-case letters and apostrophes, with spaces for hyphens, to compare words."""
    return re.sub(r"\s+", " ", re.sub(r"[^a-z' ]", " ", text.lower().replace("-", " "))).strip()

"""A glossary: which of two decodings counts, and that nothing else changes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from asr_batch.models.recognizer import ModelInfo, WindowRequest, WindowResult
from asr_batch.pipeline.biasing import Biased
from asr_batch.pipeline.text.terms import Terms

TERMS = ("Asterisk", "Inter-Asterisk Exchange", "Waldo", "東京タワー")


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("the asterisk, and Asterisk's console", {"Asterisk": 2}),
        ("an Inter-Asterisk exchange", {"Inter-Asterisk Exchange": 1}),
        ("asterisks asteriskx", {"Asterisk": 1}),
        ("Waldo Waldo waldo's", {"Waldo": 3}),
        ("昨日東京タワーに", {"東京タワー": 1}),
        ("nothing of it", {}),
        ("", {}),
    ],
)
def test_terms_are_counted_as_whole_words(text, heard):
    assert Terms(TERMS).heard(text) == heard


class Canned:
    """A recognizer that says what it is told to say, without and with terms."""

    def __init__(self, plain: dict, biased: dict) -> None:
        self.info = ModelInfo("x", "whisper", "/x", "0" * 64, "fp32", 30.0)
        self.texts, self.queue, self.asked, self.good = (plain, biased), [], [], True

    def room(self) -> int:
        return 4

    def pending(self) -> int:
        return len(self.queue)

    def submit(self, request: WindowRequest) -> None:
        self.asked.append(request)
        self.queue.append(request)

    def poll(self) -> list[WindowResult]:
        if not self.queue:
            return []
        request = self.queue.pop(0)
        key = request.key if not request.options.glossary else request.key.key
        text, logprob = self.texts[bool(request.options.glossary)][key]
        return [WindowResult(request.key, text, (1,), logprob, math.nan)]

    def confirm(self) -> bool:
        return self.good

    detect_language = occupancy = close = None


def decoded(plain, biased):
    canned = Canned(plain, biased)
    model = Biased(canned, TERMS)
    for key in plain:
        model.submit(WindowRequest(key, np.zeros(160, np.float32)))
    found = {}
    while model.pending():
        found |= {result.key: result.text for result in model.poll()}
    return found, canned


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        (("while those products", -0.3), ("Waldo's products", -0.3), 1),
        (("the asterisk console", -0.3), ("The Asterisk console", -0.1), 0),  # no more of the terms
        (("enter asterisk exchange", -0.3), ("Inter-Asterisk Exchange", -0.3), 1),
        (("at the tone", -0.3), ("at the town", -0.1), 0),
        (("while those products", -0.3), ("Waldo's products", -0.6), 0),  # less likely
        (("while", -0.3), ("Waldo, Waldo, Waldo, Waldo", -0.1), 0),  # much longer
    ],
)
def test_the_text_with_terms_counts_only_where_it_holds_more_of_them(first, second, chosen):
    found, canned = decoded({"w": first}, {"w": second})
    assert found == {"w": (first, second)[chosen][0]}
    assert [bool(request.options.glossary) for request in canned.asked] == [False, True]


def test_silence_is_decoded_once():
    _, canned = decoded({"a": ("", 0.0)}, {})
    assert len(canned.asked) == 1


def test_many_windows_come_back_once_each():
    plain = {number: (f"while {number}", -0.3) for number in range(9)}
    biased = {number: (f"Waldo {number}" if number % 2 else f"hm {number}", -0.3) for number in range(9)}
    found, _ = decoded(plain, biased)
    assert found == {n: (biased if n % 2 else plain)[n][0] for n in range(9)}


def test_a_first_text_that_turns_out_suspect_is_decoded_again():
    canned = Canned({"a": ("garbage", -0.3)}, {"a": ("garbage", -0.3)})
    model = Biased(canned, TERMS)
    model.submit(WindowRequest("a", np.zeros(160, np.float32)))
    assert model._take(canned.poll()[0]) is None
    canned.good = False
    assert not model.confirm()
    canned.texts = ({"a": ("while those", -0.3)}, {"a": ("Waldo", -0.3)})
    assert [result.text for result in model.poll()] == ["while those"]
    assert [bool(request.options.glossary) for request in canned.asked] == [False, True, False, True]

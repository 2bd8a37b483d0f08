"""Windows without a language: the decoder detects it at start-of-transcript, at no cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import whisper_reference as reference
from tiny_whisper import publish
from whisper_bundles import bundle, decode, options_for

from asr_batch.manifests.errors import ItemError
from asr_batch.models.load import load_recognizer
from asr_batch.models.recognizer import Recognizer, WindowRequest

pytest.importorskip("onnx")

SPEC = reference.SPECS[4]  # German, English, French


def model_of(kind: str, folder: Path) -> Recognizer:
    if kind == "compiled":
        return bundle(folder, SPEC)
    publish(folder, SPEC)
    return load_recognizer(folder)


@pytest.mark.parametrize("kind", ["compiled", "published"])
@pytest.mark.parametrize("among", [(), ("de", "fr")])
@pytest.mark.parametrize("beams", [1, 2])
def test_it_is_decoded_in_the_language_that_is_detected(
    tmp_path: Path, kind: str, among: tuple[str, ...], beams: int
) -> None:
    model = model_of(kind, tmp_path)
    clips = [reference.audio(70 + i, 1.0 + i) for i in range(4)]
    width = beams if "beam" in model.info.capabilities else 1
    unset = replace(
        options_for(SPEC, plain=False, language="de"), language=None, among=among, beam_size=width
    )
    found = decode(model, [WindowRequest(i, clip, unset) for i, clip in enumerate(clips)])
    for i, (clip, chances) in enumerate(zip(clips, model.detect_language(clips, among), strict=True)):
        likeliest = max(chances, key=lambda code: chances[code])
        given = replace(unset, language=likeliest, among=())
        told = decode(model, [WindowRequest(i, clip, given)])[i]
        assert (found[i].language, found[i].languages[0][0]) == (likeliest, likeliest)
        assert found[i].languages[0][1] == pytest.approx(chances[likeliest], abs=1e-4)
        assert (found[i].tokens, found[i].avg_logprob) == (told.tokens, told.avg_logprob)
        assert not among or {code for code, _ in found[i].languages} <= set(among)


@pytest.mark.parametrize("kind", ["compiled", "published"])
def test_a_language_that_it_does_not_know_cannot_be_its_own(tmp_path: Path, kind: str) -> None:
    model = model_of(kind, tmp_path)
    unset = replace(options_for(SPEC, plain=False, language="de"), language=None, among=("xx",))
    with pytest.raises(ItemError, match="language"):
        model.submit(WindowRequest(0, reference.audio(70, 1.0), unset))


def test_it_is_encoded_once_for_all_languages(tmp_path: Path) -> None:
    model = bundle(tmp_path, SPEC)
    clip = reference.audio(70, 2.0)
    given = options_for(SPEC, plain=False, language="de")
    decode(model, [WindowRequest(0, clip, replace(given, language=None))])
    encoder = model._encoder  # type: ignore[attr-defined]
    encoder.encode = lambda log_mel: pytest.fail("encoded again")
    assert decode(model, [WindowRequest(1, clip, given)])[1].error is None


@pytest.mark.parametrize("kind", ["compiled", "published"])
def test_a_text_below_the_least_likelihood_is_not_finished(tmp_path: Path, kind: str) -> None:
    model = model_of(kind, tmp_path)
    clip = reference.audio(71, 2.0)
    options = options_for(SPEC, plain=False, language="de", max_new_tokens=12)
    whole = decode(model, [WindowRequest(0, clip, options)])[0]
    total = whole.avg_logprob * (len(whole.tokens) + 1)
    part = decode(model, [WindowRequest(1, clip, replace(options, least_logprob=total / 2))])[1]
    assert part.truncated
    assert 0 < len(part.tokens) < len(whole.tokens)
    assert part.tokens == whole.tokens[: len(part.tokens)]
    assert part.avg_logprob * (len(part.tokens) + 1) < total / 2


def test_windows_are_decoded_while_a_language_is_detected(tmp_path: Path) -> None:
    """The rows in the slots need not wait until another one's audio is encoded."""
    model = bundle(tmp_path, SPEC)
    clip, other = reference.audio(70, 2.0), reference.audio(71, 3.0)
    given = options_for(SPEC, plain=False, language="de")
    alone = decode(model, [WindowRequest(0, clip, given)])[0]
    engine, encoder = model._engine, model._encoder  # type: ignore[attr-defined]
    stepped, step, encode = Event(), engine.step, encoder.encode
    engine.step = lambda: (step(), stepped.set())
    began: list[bool] = []

    def slowly(log_mel: np.ndarray) -> np.ndarray:
        began.append(stepped.wait(20))
        return encode(log_mel)

    model.submit(WindowRequest(0, clip, given))
    model._refill()  # type: ignore[attr-defined]  # the window is in a slot
    encoder.encode = slowly
    (chances,) = model.detect_language([other])
    assert (began, chances) == ([True], bundle(tmp_path, SPEC).detect_language([other])[0])
    assert model.pending() == 1
    (result,) = model.poll()
    assert (result.tokens, result.avg_logprob) == (alone.tokens, alone.avg_logprob)


def test_an_utterance_is_encoded_once_for_all_detections(tmp_path: Path) -> None:
    model = bundle(tmp_path, SPEC)
    clip = reference.audio(70, 2.0)
    (chances,) = model.detect_language([clip])
    encoder = model._encoder  # type: ignore[attr-defined]
    encoder.encode = lambda log_mel: pytest.fail("encoded again")
    (among,) = model.detect_language([clip], ("de", "fr"))
    assert among["de"] / among["fr"] == pytest.approx(chances["de"] / chances["fr"])

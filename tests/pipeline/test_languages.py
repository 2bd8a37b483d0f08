"""The language of a row, of its windows, and where it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pipeline_lab import RATE, FakeRecognizer, check_tiling, joined, row, run_units, speech_seconds

from asr_batch.manifests.records import AudioItem
from asr_batch.models.recognizer import DecodeOptions, WindowRequest, WindowResult
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND, Meter
from asr_batch.pipeline.audio.reader import probe
from asr_batch.pipeline.choice import Choice
from asr_batch.pipeline.decoding import decode
from asr_batch.pipeline.language.mixture import Evidence, spoken_in
from asr_batch.pipeline.language.texts import told_by_texts
from asr_batch.pipeline.language.turns import Turns, best_turns
from asr_batch.pipeline.language.vote import LanguageVote
from asr_batch.pipeline.options import PipelineOptions
from asr_batch.pipeline.outcomes import Outcome
from asr_batch.pipeline.requests import DecodeRequest
from asr_batch.pipeline.thresholds import FEW_VOTERS, TELLING_UTTERANCES, VOTER_SECONDS, VOTERS
from asr_batch.pipeline.windows import spans as spans_of_rows
from asr_batch.pipeline.windows.planning import plan
from asr_batch.pipeline.windows.spans import split_item

Clips = list[tuple[str, np.ndarray]]
Save = Callable[..., Path]


class Linguist(FakeRecognizer):
    """Knows German by speech that is there, and takes silence for French."""

    def detect_language(
        self, windows: Sequence[np.ndarray], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        self.asked = [*getattr(self, "asked", []), len(windows)]
        spoken = [speech_seconds(window) > 1.0 for window in windows]
        found = [{"de": 0.8, "nl": 0.15, "fr": 0.05} if s else {"fr": 0.9, "de": 0.1} for s in spoken]
        return [{code: row[code] for code in row if not among or code in among} for row in found]


def linguist() -> Linguist:
    return Linguist(languages=("de", "fr", "nl"))


def loud(samples: np.ndarray) -> bool:
    return bool(np.abs(samples).max() > 0.25)


class Polyglot(FakeRecognizer):
    """Loud windows are Spanish, which it is not sure of, faint ones French; its texts are likelier so."""

    spanish = 0.35
    padded = 0

    def detect_language(
        self, windows: Sequence[np.ndarray], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        es = self.spanish
        self.padded += len(windows) if whole else 0
        return [
            {"it": 0.88 - es, "es": es, "fr": 0.1, "la": 0.015, "ro": 0.005}
            if loud(w)
            else {"fr": 0.8, "es": 0.2}
            for w in windows
        ]


def in_its_language(request: WindowRequest, result: WindowResult) -> WindowResult:
    spoken = "es" if loud(request.samples) else "fr"
    language = request.options.language
    return replace(result, language=language, avg_logprob=-0.4 if language == spoken else -0.7)


def polyglot() -> Polyglot:
    return Polyglot(in_its_language, languages=("es", "fr", "it", "la", "ro"))


def test_the_language_is_voted_by_windows_that_speak(save: Save, clips: Clips) -> None:
    path = save(np.concatenate([np.zeros(60 * RATE, np.float32), joined(clips[:4], 0.3)]))
    recognizer = linguist()
    transcript = row(path, recognizer)
    assert transcript.language == "de"
    assert transcript.language_prob == pytest.approx(0.8)
    assert {request.options.language for request in recognizer.requests} == {"de"}
    assert row(path, linguist(), PipelineOptions(languages=("nl", "fr"))).language == "nl"


def test_where_the_language_is_unsure_the_likelier_text_stands(save: Save, clips: Clips) -> None:
    recognizer = polyglot()
    transcript = row(save(0.9 * clips[0][1] / np.abs(clips[0][1]).max()), recognizer)
    assert (transcript.language, transcript.language_prob) == ("es", None)
    (window,) = transcript.windows
    assert window.language == "es"
    assert {segment.language for segment in transcript.segments} == {"es"}
    assert "in it" in [other.source for other in window.hypotheses]
    asked = [request.options for request in recognizer.requests]
    assert [one.language for one in asked] == [
        None,
        "es",
        "fr",
        "la",
        "es",
    ]  # Romanian is under one in a hundred
    # The first one is Italian, as detected; others are compared greedily; the chosen one is searched.
    assert [one.search for one in asked] == [asked[0].search, False, False, False, asked[0].search]
    assert recognizer.padded == 0


def test_languages_whose_text_cannot_be_likelier_are_not_tried(save: Save, clips: Clips) -> None:
    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        return replace(result, language=request.options.language, avg_logprob=-0.4)

    recognizer = Polyglot(speak, languages=("es", "fr", "it", "la", "ro"))
    transcript = row(save(0.9 * clips[0][1] / np.abs(clips[0][1]).max()), recognizer)
    assert transcript.language == "it"
    # Latin, with 1.5 %, would need a text that is likelier than any.
    assert [request.options.language for request in recognizer.requests] == [None, "es", "fr"]


def test_a_hopeless_text_is_not_finished(save: Save, clips: Clips) -> None:
    """Each further text may have 1.3 times the tokens of the first one, and must make up for its language."""
    tokens: list[int] = []

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        tokens.append(len(result.tokens))
        return in_its_language(request, result)

    recognizer = Polyglot(speak, languages=("es", "fr", "it", "la", "ro"))
    row(save(0.9 * clips[0][1] / np.abs(clips[0][1]).max()), recognizer)
    least = [request.options.least_logprob for request in recognizer.requests]
    chances = {"es": 0.35, "fr": 0.1, "la": 0.015}
    behind = [0.06 * np.log(0.53 / chance) for chance in chances.values()]  # Italian has 0.53
    expected = [pytest.approx(1.3 * (-0.7 + more) * (tokens[0] + 1)) for more in behind]
    assert least == [-np.inf, *expected, -np.inf]


def test_the_languages_compared_are_decoded_side_by_side(save: Save, clips: Clips) -> None:
    """None waits for the text in another one, so the end of a job is not one decoding after the other."""
    open_at_once: list[int] = []

    class Watched(Polyglot):
        def poll(self) -> list[WindowResult]:
            open_at_once.append(len(self.queue))
            return super().poll()

    path = save(0.9 * clips[0][1] / np.abs(clips[0][1]).max())
    languages = ("es", "fr", "it", "la", "ro")
    many = row(path, Watched(in_its_language, languages=languages, batch=4))
    assert open_at_once == [1, 3, 2, 1, 1]
    alone = row(path, Polyglot(in_its_language, languages=languages, batch=1))
    assert alone.windows == many.windows


@pytest.mark.parametrize(("worst", "padded"), [(-0.41, 1), (-0.6, 0)])
def test_texts_that_are_alike_have_the_language_detected_before_more_silence(
    save: Save, clips: Clips, worst: float, padded: int
) -> None:
    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        language = request.options.language
        return replace(result, language=language, avg_logprob=-0.4 if language == "es" else worst)

    recognizer = Polyglot(speak, languages=("es", "fr", "it", "la", "ro"))
    row(save(0.9 * clips[0][1] / np.abs(clips[0][1]).max()), recognizer)
    assert recognizer.padded == padded


def test_a_prompt_has_no_say_in_the_language(save: Save, clips: Clips) -> None:
    """An Italian prompt makes Italian likely; the text in the chosen language is written with the prompt."""

    def prompted(request: WindowRequest, result: WindowResult) -> WindowResult:
        result = in_its_language(request, result)
        if request.options.prompt and request.options.language == "it":
            result = replace(result, avg_logprob=-0.05)
        return result

    recognizer = Polyglot(prompted, languages=("es", "fr", "it", "la", "ro"))
    path = save(0.9 * clips[0][1] / np.abs(clips[0][1]).max())
    assert row(path, recognizer, prompt="buon giorno").language == "es"
    shown = [one.options for one in recognizer.requests if one.options.prompt]
    assert {(one.language, one.prompt) for one in shown} == {("es", "buon giorno")}


def test_the_texts_of_a_single_word_do_not_tell_its_language(save: Save, clips: Clips) -> None:
    recognizer = polyglot()
    path = save(0.9 * clips[0][1][: RATE // 2 * 3] / np.abs(clips[0][1]).max())
    transcript = row(path, recognizer, PipelineOptions(repair_budget=0))
    assert (transcript.language, transcript.status) == ("it", "ok")
    assert [request.options.language for request in recognizer.requests] == [None]


@pytest.mark.parametrize(("spanish", "padded", "language"), [(0.35, 0, "it"), (0.5, 1, "ro")])
def test_the_language_of_a_word_that_is_a_guess_is_detected_before_more_silence(
    save: Save, clips: Clips, spanish: float, padded: int, language: str
) -> None:
    """Italian has 0.53 or 0.38; with the silence of the training it is Romanian."""

    class Padding(Polyglot):
        def detect_language(
            self, windows: Sequence[np.ndarray], among: Sequence[str] = (), *, whole: bool = False
        ) -> list[dict[str, float]]:
            found = super().detect_language(windows, among, whole=whole)
            guessed = {"it": 0.3, "fr": 0.3, "es": 0.25, "la": 0.15}
            return [{"ro": 0.6, "it": 0.4} if whole else guessed if spanish == 0.5 else one for one in found]

    recognizer = Padding(in_its_language, languages=("es", "fr", "it", "la", "ro"))
    recognizer.spanish = spanish
    path = save(0.9 * clips[0][1][: RATE // 2 * 3] / np.abs(clips[0][1]).max())
    transcript = row(path, recognizer, PipelineOptions(repair_budget=0))
    assert (transcript.language, recognizer.padded) == (language, padded)
    assert [request.options.language for request in recognizer.requests] == [None, *["ro"] * padded]
    assert [one.source for one in transcript.windows[0].hypotheses] == ["in it"] * padded


@pytest.mark.parametrize(("text", "truncated"), [("ta" + 60 * "cha", False), ("ta" + 9 * "cha", True)])
def test_a_loop_is_no_likelier_text(save: Save, clips: Clips, text: str, truncated: bool) -> None:
    def looping(request: WindowRequest, result: WindowResult) -> WindowResult:
        result = in_its_language(request, result)
        if result.language == "la":
            result = replace(result, text=text, avg_logprob=-0.05, truncated=truncated)
        return result

    recognizer = Polyglot(looping, languages=("es", "fr", "it", "la", "ro"))
    transcript = row(save(0.9 * clips[0][1] / np.abs(clips[0][1]).max()), recognizer)
    assert (transcript.language, transcript.status) == ("es", "ok")
    assert "in la" in [other.source for other in transcript.windows[0].hypotheses]


@pytest.mark.parametrize(("again", "language"), [(True, "es"), (False, "it")])
def test_what_is_said_again_is_in_the_language_of_one_round(
    save: Save, clips: Clips, again: bool, language: str
) -> None:
    """Its right text may count as a loop; nothing else that repeats itself may."""
    said = clips[1][1]

    def repeating(request: WindowRequest, result: WindowResult) -> WindowResult:
        result = in_its_language(request, result)
        loops = result.language == "es" and len(request.samples) > 2 * len(said)
        return replace(result, text=5 * "uno dos tres. ") if loops else result

    recognizer = Polyglot(repeating, languages=("es", "fr", "it", "la", "ro"))
    samples = np.tile(said, 3) if again else joined(clips[1:4], 0.0)
    path = save(0.9 * samples / np.abs(samples).max())
    assert row(path, recognizer, PipelineOptions(repair_budget=0)).language == language


def test_the_language_to_translate_from_is_that_of_the_likelier_transcript(save: Save, clips: Clips) -> None:
    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        likely = "es" if request.options.task == "transcribe" else "it"
        language = request.options.language
        return replace(result, language=language, avg_logprob=-0.2 if language == likely else -0.7)

    recognizer = Polyglot(speak, languages=("es", "fr", "it", "la", "ro"))
    path = save(0.9 * clips[0][1] / np.abs(clips[0][1]).max())
    transcript = row(path, recognizer, PipelineOptions(task="translate", repair_budget=0))
    assert transcript.language == "es"
    asked = [(request.options.task, request.options.language) for request in recognizer.requests]
    assert asked.count(("translate", "es")) == 1
    assert [task for task, _ in asked].count("translate") == 1


@pytest.mark.parametrize(("likely", "language"), [(-0.4, "es"), (-0.95, "it")])
def test_the_texts_of_its_utterances_tell_the_language_of_a_longer_row(
    save: Save, clips: Clips, likely: float, language: str
) -> None:
    """All voters are unsure, and take it for Italian; only likely texts tell otherwise."""

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        spoken = request.options.language
        return replace(result, language=spoken, avg_logprob=likely if spoken == "es" else likely - 0.3)

    speech = joined(clips, 0.4)
    speech *= 0.9 / np.abs(speech).max()
    recognizer = Polyglot(speak, languages=("es", "fr", "it", "la", "ro"), batch=3)
    transcript = row(save(np.concatenate([speech, speech])), recognizer, PipelineOptions(repair_budget=0))
    assert transcript.language == language
    assert {window.language for window in transcript.windows if window.text} == {language}
    compared = [one for one in recognizer.requests if one.options.language in ("fr", "la")]
    assert len(compared) <= 2 * TELLING_UTTERANCES
    assert compared
    assert not any(one.options.search for one in compared)
    assert max(len(one.samples) for one in compared) < 6 * RATE  # utterances, not windows


def test_no_result_is_lost_while_a_longer_row_is_told_by_its_texts(save: Save, clips: Clips) -> None:
    speech = joined(clips, 0.4)
    speech *= 0.9 / np.abs(speech).max()
    brief, long = save(clips[0][1], "brief.wav"), save(np.concatenate([speech, speech]), "long.wav")
    items = [AudioItem(path.stem, path.name, str(path), language=code) for path, code in
             ((brief, "fr"), (long, None))]  # fmt: skip
    units = [
        (unit, Path(item.location)) for item in items for unit in split_item(item, probe(Path(item.location)))
    ]
    alone = row(brief, Polyglot(in_its_language, languages=("es", "fr", "it", "la", "ro")), language="fr")
    recognizer = Polyglot(in_its_language, languages=("es", "fr", "it", "la", "ro"), batch=16)
    found = run_units(units, recognizer, PipelineOptions())
    assert found["long", 0].language == "es"
    assert [window.text for window in found["brief", 0].windows] == [one.text for one in alone.windows]


def test_a_row_that_changes_its_language_is_written_in_both(save: Save, clips: Clips) -> None:
    spoken = joined(clips, 0.4)
    spoken *= 0.9 / np.abs(spoken).max()
    recognizer = polyglot()
    recognizer.detect_language = lambda windows, among=(), whole=False: [  # type: ignore[method-assign,misc]
        {"es": 0.85, "fr": 0.15} if loud(window) else {"fr": 0.99, "es": 0.01} for window in windows
    ]
    transcript = row(save(np.concatenate([spoken, spoken, 0.27 * spoken])), recognizer)
    boundary = 2 * len(spoken) / RATE
    check_tiling(transcript, 0.0, 1.5 * boundary)
    for window in transcript.windows:
        if window.text:
            assert window.language == ("es" if window.start < boundary - 0.5 else "fr")
    assert any(abs(window.start - boundary) < 0.5 for window in transcript.windows)  # parted there
    for segment in transcript.segments:
        assert segment.language == ("es" if segment.end < boundary else "fr")
    assert transcript.language == "es"
    assert row(save(spoken), recognizer, language="it").language == "it"


def test_a_long_row_that_begins_in_another_language_is_written_in_both(save: Save, clips: Clips) -> None:
    first, rest = clips[0][1], joined(clips, 0.4)
    first, rest = 0.2 * first / np.abs(first).max(), 0.9 * rest / np.abs(rest).max()
    gap = np.zeros(RATE // 2, np.float32)
    recognizer = Polyglot(in_its_language, languages=("es", "fr", "it"))
    recognizer.detect_language = lambda windows, among=(), whole=False: [  # type: ignore[method-assign,misc]
        {"es": 0.99, "it": 0.01} if loud(window) else {"it": 0.5, "fr": 0.4, "es": 0.1} for window in windows
    ]
    transcript = row(save(np.concatenate([first, gap, *[rest] * 3])), recognizer)
    check_tiling(transcript, 0.0, (len(first) + len(gap) + 3 * len(rest)) / RATE)
    assert transcript.language == "es"
    assert transcript.windows[0].language == "fr"
    assert abs(transcript.windows[0].end - len(first) / RATE) < 0.5
    assert {window.language for window in transcript.windows[1:] if window.text} == {"es"}


def test_only_the_first_span_of_a_row_has_its_beginning(
    save: Save, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans_of_rows, "LONG", 40.0)
    monkeypatch.setattr(spans_of_rows, "SPAN", 20.0)
    first, rest = clips[0][1], joined(clips * 3, 0.4)
    first, rest = 0.2 * first / np.abs(first).max(), 0.9 * rest / np.abs(rest).max()
    path = save(np.concatenate([first, np.zeros(RATE // 2, np.float32), rest]))
    recognizer = Polyglot(in_its_language, languages=("es", "fr", "it"))
    recognizer.detect_language = lambda windows, among=(), whole=False: [  # type: ignore[method-assign,misc]
        {"es": 0.99, "fr": 0.01} if loud(window) else {"fr": 0.99, "es": 0.01} for window in windows
    ]
    units = split_item(AudioItem("row", "a", str(path)), probe(path))
    vote = LanguageVote(recognizer, PipelineOptions(), lambda requests: asked_at_once(recognizer, requests))
    answers = [vote(unit, path, probe(path), "mix") for unit in units]
    assert len(answers) >= 3
    assert {answer.language for answer in answers} == {"es"}
    assert [answer.turns is not None for answer in answers] == [True] + [False] * (len(answers) - 1)


def asked_at_once(recognizer: FakeRecognizer, requests: Sequence[DecodeRequest]) -> list[WindowResult]:
    for place, one in enumerate(requests):
        recognizer.submit(WindowRequest(place, one.samples, one.options))
    found: list[WindowResult] = []
    while recognizer.pending():
        found += recognizer.poll()
    return sorted(found, key=lambda result: int(str(result.key)))


def hears(languages: dict[str, float]) -> Callable[[WindowRequest, WindowResult], WindowResult]:
    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        faint = not loud(request.samples)
        result = in_its_language(request, result)
        return replace(result, languages=tuple(languages.items()) if faint else (("es", 0.99),))

    return speak


@pytest.mark.parametrize(
    ("languages", "spoken", "options"),
    [
        ({"fr": 0.7, "es": 0.3}, "fr", PipelineOptions()),
        ({"es": 0.55, "fr": 0.45}, "es", PipelineOptions()),
        ({"fr": 0.7, "es": 0.3}, "es", PipelineOptions(languages=("es", "it"))),
        ({"fr": 0.7, "es": 0.3}, "es", PipelineOptions(language="es")),
    ],
)
def test_a_window_in_which_another_language_is_heard_is_written_in_it(
    save: Save, clips: Clips, languages: dict[str, float], spoken: str, options: PipelineOptions
) -> None:
    """A minute of Spanish votes; what the decoder itself hears in a window tells of the rest."""
    speech = joined(clips, 0.4)
    speech *= 0.9 / np.abs(speech).max()
    samples = np.concatenate([*[speech] * 6, 0.27 * speech, *[speech] * 6])
    recognizer = FakeRecognizer(hears(languages), languages=("es", "fr", "it"))
    recognizer.detect_language = lambda windows, among=(), whole=False: [{"es": 1.0} for _ in windows]  # type: ignore
    transcript = row(save(samples), recognizer, options)
    first, last = 6 * len(speech) / RATE, 7 * len(speech) / RATE
    inside = {w.language for w in transcript.windows if w.text and w.start > first and w.end < last}
    outside = {w.language for w in transcript.windows if w.text and (w.end < first or w.start > last)}
    assert (inside, outside) == ({spoken}, {"es"})


def test_a_mistaken_turn_is_written_in_the_language_of_the_row(save: Save, clips: Clips) -> None:
    """Faint windows are taken for Italian, but French, the row's language, gives the more likely text."""
    speech = joined(clips, 0.4)
    speech *= 0.9 / np.abs(speech).max()

    def french(request: WindowRequest, result: WindowResult) -> WindowResult:
        language = request.options.language
        return replace(result, language=language, avg_logprob=-0.2 if language == "fr" else -0.7)

    def detect(
        windows: Sequence[np.ndarray], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        return [{"fr": 0.99, "it": 0.01} if loud(w) else {"it": 0.99, "fr": 0.01} for w in windows]

    recognizer = FakeRecognizer(french, languages=("es", "fr", "it"))
    recognizer.detect_language = detect  # type: ignore[method-assign]
    transcript = row(save(np.concatenate([speech, speech, 0.27 * speech])), recognizer)
    assert any(len(window.hypotheses) for window in transcript.windows)
    assert {window.language for window in transcript.windows if window.text} == {"fr"}


@pytest.mark.parametrize(
    ("spoken", "likely", "written"),
    [
        (("es",), -0.35, "es"),  # heard in this window alone, and hardly likelier
        (("es",), -0.1, "fr"),
        (("es", "fr"), -0.4, "fr"),  # the row is spoken in it
        (("es", "fr"), -0.47, "es"),
    ],
)
def test_the_language_of_the_row_holds_unless_another_text_is_clearly_likelier(
    spoken: tuple[str, ...], likely: float, written: str
) -> None:
    """The decoder hears French in the window; the row is Spanish."""

    def result(language: str | None, logprob: float) -> WindowResult:
        heard = (("fr", 0.7), ("es", 0.3))
        return WindowResult(0, "hola", (1, 2), logprob, 0.0, language=language, languages=heard)

    choice = Choice("es", spoken)
    decoding = decode(np.zeros(RATE, np.float32), DecodeOptions("es"), PipelineOptions(), 3.0, choice)
    (asked,) = next(decoding)
    assert asked.options.language == "es"
    (asked,) = decoding.send([result("es", -0.5)])
    assert asked.options.language == "fr"
    with pytest.raises(StopIteration) as stop:
        decoding.send([result("fr", likely)])
    outcome: Outcome = stop.value.value
    assert outcome.result.language == written
    assert [other.source for other in outcome.others] == [f"in {'es' if written == 'fr' else 'fr'}"]


def test_a_window_taken_for_another_language_is_decoded_in_that_of_the_row_too() -> None:
    """Both at once; a third one that the decoder itself hears afterwards."""

    def result(language: str | None, logprob: float) -> WindowResult:
        heard = (("it", 0.6), ("fr", 0.3), ("es", 0.1))
        return WindowResult(0, "hola", (1, 2), logprob, 0.0, language=language, languages=heard)

    choice = Choice("es", ("es", "fr"))
    decoding = decode(np.zeros(RATE, np.float32), DecodeOptions("fr"), PipelineOptions(), 3.0, choice)
    assert [asked.options.language for asked in next(decoding)] == ["fr", "es"]
    (third,) = decoding.send([result("fr", -0.8), result("es", -0.5)])
    assert third.options.language == "it"
    with pytest.raises(StopIteration) as stop:
        decoding.send([result("it", -0.4)])
    assert stop.value.value.result.language == "es"


HEARD_ONCE = {"es": 0.02, "pt": 0.95, "it": 0.02}
HEARD_AGAIN = {"es": 0.02, "fr": 0.97}
MAIN = {"es": 0.9, "fr": 0.03, "it": 0.03, "pt": 0.03}


@pytest.mark.parametrize(
    ("others", "spoken"),
    [
        ([], ("es",)),
        ([HEARD_ONCE], ("es",)),  # one confident error is none
        ([{"es": 0.3, "pt": 0.6}, {"es": 0.3, "it": 0.6}, {"es": 0.2, "fr": 0.7}], ("es",)),  # each another
        ([{"es": 0.02, "pt": 0.7}] * 4, ("es",)),  # never with confidence
        ([HEARD_AGAIN] * 3, ("es", "fr")),
        ([HEARD_AGAIN] * 4 + [{"it": 0.97, "es": 0.02}] * 4, ("es", "fr", "it")),
    ],
)
def test_a_row_is_spoken_in_the_fewest_languages_that_explain_what_is_heard(
    others: list[dict[str, float]], spoken: tuple[str, ...]
) -> None:
    heard = [Evidence(chances, 1.0) for chances in [MAIN] * 8 + others]
    assert sorted(spoken_in(heard, "es", 3.5)) == sorted(spoken)
    assert spoken_in(heard, "es", 3.5)[0] == "es"


def test_a_row_without_speech_is_spoken_in_one_language() -> None:
    assert spoken_in([Evidence({"fr": 0.9, "es": 0.1}, 0.0)], "es", 3.5) == ("es",)


class Bilingual(FakeRecognizer):
    """Spanish loud utterances, French faint ones; of a window with both it is not sure."""

    doubt = 0.6

    def detect_language(
        self, windows: Sequence[np.ndarray], among: Sequence[str] = (), *, whole: bool = False
    ) -> list[dict[str, float]]:
        return [self._chances(np.abs(w)) for w in windows]

    def _chances(self, level: np.ndarray) -> dict[str, float]:
        peaks = [part.max() > 0.25 for part in np.array_split(level, max(1, len(level) // RATE))]
        share = np.mean(peaks)
        if 0.2 < share < 0.8:
            return {"es": self.doubt, "fr": 1 - self.doubt}
        return {"es": 0.97, "fr": 0.03} if level.max() > 0.25 else {"es": 0.03, "fr": 0.97}


@pytest.mark.parametrize("doubt", [0.6, 0.99])
def test_a_row_of_one_window_in_two_languages_is_written_in_both(
    save: Save, clips: Clips, doubt: float
) -> None:
    """Even if the model is sure of the language of the whole: it hears the longer part."""
    one, other = two_parts(clips)
    recognizer = Bilingual(in_its_language, languages=("es", "fr"), window=30.0)
    recognizer.doubt = doubt
    transcript = row(save(np.concatenate([one, other])), recognizer)
    assert [window.language for window in transcript.windows] == ["es", "fr"]
    assert abs(transcript.windows[1].start - len(one) / RATE) < 0.5


def two_parts(clips: Clips) -> tuple[np.ndarray, np.ndarray]:
    one, other = joined(clips[:2], 0.4), joined(clips[2:4], 0.4)
    return one * np.float32(0.9 / np.abs(one).max()), other * np.float32(0.2 / np.abs(other).max())


def test_utterances_taken_for_another_language_split_no_row_if_their_texts_are_not_likelier(
    save: Save, clips: Clips
) -> None:
    def spanish(request: WindowRequest, result: WindowResult) -> WindowResult:
        language = request.options.language
        return replace(result, language=language, avg_logprob=-0.4 if language == "es" else -0.7)

    recognizer = Bilingual(spanish, languages=("es", "fr"), window=30.0)
    transcript = row(save(np.concatenate(two_parts(clips))), recognizer)
    assert len(transcript.windows) == 1
    assert {"es", "fr"} <= {request.options.language for request in recognizer.requests}  # were compared


class Unsure(Bilingual):
    """Takes faint utterances, which are French, for anything but Spanish."""

    def _chances(self, level: np.ndarray) -> dict[str, float]:
        found = super()._chances(level)
        return found if found["es"] > 0.1 else {"it": 0.4, "fr": 0.35, "pt": 0.2, "es": 0.05}


def test_an_utterance_in_no_clear_language_is_written_in_that_of_the_likeliest_text(
    save: Save, clips: Clips
) -> None:
    recognizer = Unsure(in_its_language, languages=("es", "fr", "it", "pt"), window=30.0)
    transcript = row(save(np.concatenate(two_parts(clips))), recognizer)
    assert [window.language for window in transcript.windows] == ["es", "fr"]


@pytest.mark.parametrize(
    ("gain", "told"),
    [
        ((0.5, 0.7), [None, "pl", "pl", None]),  # the third language explains one utterance a little better
        ((0.5, 0.9), [None, "pl", "uk", None]),
        ((0.0, 0.0), [None, None, None, None]),  # nothing is clearly likelier
    ],
)
def test_utterances_are_told_by_the_fewest_languages(
    gain: tuple[float, float], told: list[str | None]
) -> None:
    faint = {"pl": 0.41, "uk": 0.41, "de": 0.18}  # by which the others are likelier by 0.05 each
    chances = [{"de": 1.0}, faint, faint, {"de": 0.3, "pl": 0.7}]
    likely = {(1, "pl"): gain[0], (2, "pl"): gain[0], (2, "uk"): gain[1]}
    asked: list[tuple[float, str | None]] = []

    def ask(requests: Sequence[DecodeRequest]) -> list[WindowResult]:
        asked.extend((float(one.samples[0]), one.options.language) for one in requests)
        return [
            WindowResult(0, "so", (1,), -0.9 + likely.get((at, code), 0.0), 0.0)
            for at, code in ((int(one.samples[0]), one.options.language or "") for one in requests)
        ]

    pieces = [(np.full(RATE, at, np.float32), 3.0) for at in range(4)]
    assert told_by_texts(pieces, chances, "de", PipelineOptions(), ask) == told
    assert {at for at, _ in asked} == {1.0, 2.0}  # "de" is likely enough in the others


def test_a_sibling_that_is_surely_detected_needs_a_likelier_text() -> None:
    def ask(requests: Sequence[DecodeRequest]) -> list[WindowResult]:
        likely = {"ru": -0.31, "uk": -0.27}
        return [WindowResult(0, "so", (1,), likely[one.options.language or ""], 0.0, 0.0) for one in requests]

    pieces = [(np.zeros(RATE, np.float32), 3.0)]
    assert told_by_texts(pieces, [{"ru": 0.03, "uk": 0.92}], "ru", PipelineOptions(), ask) == [None]


def test_utterances_that_agree_split_no_row(save: Save, clips: Clips) -> None:
    """The model is not sure of the whole, but all utterances are in one language."""
    recognizer = Polyglot(in_its_language, languages=("es", "fr", "it", "la", "ro"), window=30.0)
    speech = joined(clips[:4], 0.4)
    transcript = row(save(0.2 * speech / np.abs(speech).max()), recognizer)
    assert len(transcript.windows) == 1
    assert transcript.language == "fr"


def test_one_doubtful_word_changes_no_language() -> None:
    sure, other, doubtful = (0.9, 0.1), (0.05, 0.95), (0.3, 0.7)
    assert best_turns([sure, doubtful, sure], [3.0, 0.5, 3.0]) == [0, 0, 0]
    assert best_turns([sure, other, sure], [3.0, 3.0, 3.0]) == [0, 1, 0]
    assert best_turns([sure, other, other], [3.0, 3.0, 3.0]) == [0, 1, 1]
    assert best_turns([other], [3.0]) == [1]


def test_parted_windows_are_the_window(clips: Clips) -> None:
    samples = joined(clips[:4], 0.4)
    samples[len(samples) // 2 :] *= 0.3
    level = np.abs(samples).max() / 3

    def detect(pieces: Sequence[np.ndarray], among: Sequence[str]) -> list[dict[str, float]]:
        assert among == ("es", "fr")
        return [{"es": 0.98, "fr": 0.02} if np.abs(p).max() > level else {"fr": 1.0} for p in pieces]

    whole = list(plan(Meter().measure([samples]), 30.0))
    parts = list(Turns(("es", "fr"), detect).parted(whole))
    assert [language for _, language in parts] == ["es", "fr"]
    windows = [window for window, _ in parts]
    assert [window.index for window in windows] == [0, 1]
    assert (windows[0].start, windows[-1].end, windows[-1].cut) == (
        whole[0].start,
        whole[-1].end,
        whole[-1].cut,
    )
    assert np.array_equal(np.concatenate([window.samples for window in windows]), samples)
    for left, right in pairwise(windows):
        assert left.end == right.start
    for window in windows:
        assert len(window.samples) == window.end - window.start
        assert len(window.level) == len(window.speech) == -(-len(window.samples) * FRAMES_PER_SECOND // RATE)


def test_plain_decodes_each_window_in_the_language_that_is_most_likely(save: Save, clips: Clips) -> None:
    speech = joined(clips, 0.4)
    speech *= 0.9 / np.abs(speech).max()
    recognizer = FakeRecognizer(hears({"fr": 0.4, "es": 0.3}), languages=("es", "fr", "it"))
    recognizer.detect_language = lambda windows, among=(), whole=False: [{"es": 1.0} for _ in windows]  # type: ignore
    transcript = row(save(np.concatenate([speech, 0.27 * speech])), recognizer, PipelineOptions(plain=True))
    border = len(speech) / RATE
    for window in transcript.windows:
        if window.end < border or window.start > border:
            assert window.language == ("es" if window.end < border else "fr")


def test_a_given_language_is_taken_and_an_unknown_one_refused(save: Save, clips: Clips) -> None:
    path = save(clips[0][1])
    recognizer = linguist()
    transcript = row(path, recognizer, language="fr")
    assert (transcript.language, transcript.language_prob) == ("fr", None)
    assert not hasattr(recognizer, "asked")
    assert row(path, linguist(), PipelineOptions(language="nl")).language == "nl"
    assert row(path, linguist(), language="xx").error_code == "bad_language"


def test_the_spans_of_a_row_vote_once_and_alike(
    save: Save, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans_of_rows, "LONG", 40.0)
    monkeypatch.setattr(spans_of_rows, "SPAN", 20.0)
    path = save(joined(clips * 3, 0.3))
    item = AudioItem("row", "a", str(path))
    recognizer = linguist()
    spans = run_units([(u, path) for u in split_item(item, probe(path))], recognizer, PipelineOptions())
    assert len(spans) >= 3
    few, more, utterances, first = recognizer.asked
    assert (few, few + more, first) == (FEW_VOTERS, VOTERS, 1)
    assert utterances > more
    assert {(span.language, round(span.language_prob or 0, 6)) for span in spans.values()} == {("de", 0.8)}


def test_voters_are_short_unless_the_row_is_one_window(save: Save, clips: Clips) -> None:
    short, long = clips[0][1], joined(clips * 2, 0.3)
    for samples, longest in ((short, len(short)), (long, VOTER_SECONDS * RATE)):
        heard: list[int] = []
        recognizer = FakeRecognizer(languages=("es", "fr"), window=30.0)

        def detect(
            windows: Sequence[np.ndarray],
            among: Sequence[str] = (),
            *,
            whole: bool = False,
            heard: list[int] = heard,
        ) -> list[dict[str, float]]:
            heard += map(len, windows)
            return [{"es": 1.0} for _ in windows]

        recognizer.detect_language = detect  # type: ignore
        assert row(save(samples), recognizer).language == "es"
        assert max(heard) == longest


@pytest.mark.parametrize(
    ("languages", "item", "notes"),
    [
        ({"es": 0.9, "fr": 0.04}, {}, ["its language is given as fr, but the model detects es"]),
        ({"es": 0.9, "fr": 0.06}, {}, []),
        ({"es": 0.75, "it": 0.2}, {}, []),
        ({"fr": 0.9, "es": 0.04}, {}, []),
        ({"es": 0.9}, {"prompt": "Buenos dias."}, []),
        ({"es": 0.9}, {"language": None}, []),
        ({}, {}, []),  # a model that detects none
    ],
)
def test_a_row_whose_language_is_given_and_hardly_heard_has_a_note(
    save: Save, clips: Clips, languages: dict[str, float], item: dict[str, str | None], notes: list[str]
) -> None:
    """The audio may be another file than the manifest means; the row is written as it wants."""

    def speak(request: WindowRequest, result: WindowResult) -> WindowResult:
        return replace(result, languages=tuple(languages.items()))

    path = save(joined(clips[:4], 0.3))
    recognizer = FakeRecognizer(speak, languages=("es", "fr", "it"))
    recognizer.detect_language = lambda windows, among=(), whole=False: [{"es": 1.0} for _ in windows]  # type: ignore
    transcript = row(path, recognizer, **{"language": "fr"} | item)
    assert (list(transcript.notes), transcript.status) == (notes, "ok")


@pytest.mark.parametrize(
    ("likely", "languages", "task", "notes"),
    [
        (-0.75, ("en",), None, ["its text is unlikely on the whole: another language than en may be spoken"]),
        (-0.75, ("de", "en"), None, ["its text is unlikely on the whole: it may be wrong"]),
        (-0.75, ("de", "en"), "translate", []),
        (-0.65, ("en",), None, []),
    ],
)
def test_a_row_whose_text_is_unlikely_on_the_whole_has_a_note(
    save: Save, clips: Clips, likely: float, languages: tuple[str, ...], task: str | None, notes: list[str]
) -> None:
    recognizer = FakeRecognizer(lambda _, result: replace(result, avg_logprob=likely), languages=languages)
    path = save(joined(clips[:4], 0.3))
    transcript = row(path, recognizer, PipelineOptions(task=task or "transcribe", language="en"))
    assert (list(transcript.notes), transcript.status) == (notes, "ok")


@pytest.mark.parametrize(
    ("likely", "chance", "given", "noted"),
    [
        (-0.55, 0.7, None, True),
        (-0.45, 0.7, None, False),
        (-0.55, 0.8, None, False),
        (-0.55, 0.7, "es", False),
    ],
)
def test_an_unlikely_text_in_a_language_that_is_not_clear_has_a_note(
    save: Save, clips: Clips, likely: float, chance: float, given: str | None, noted: bool
) -> None:
    """Already a word: it may be in another language."""

    def speak(_: WindowRequest, result: WindowResult) -> WindowResult:
        return replace(result, language="es", languages=(("es", chance),), avg_logprob=likely)

    recognizer = FakeRecognizer(speak, languages=("es", "fr"))
    word = clips[0][1][: round(1.2 * RATE)]
    transcript = row(save(word), recognizer, PipelineOptions(language=given))
    note = "its text is unlikely on the whole: another language than es may be spoken"
    assert (list(transcript.notes), transcript.status) == ([note] * noted, "ok")


def test_a_word_of_an_unlikely_text_has_no_note(save: Save, clips: Clips) -> None:
    """There is too little of it to say so of the row."""
    recognizer = FakeRecognizer(lambda _, result: replace(result, avg_logprob=-1.2), languages=("en",))
    word = clips[0][1][: round(1.2 * RATE)]
    assert row(save(word), recognizer).notes == ()

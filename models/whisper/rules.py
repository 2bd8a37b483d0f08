"""From logits to tokens: suppression, timestamp rules, sampling and log-probabilities.

The rules are those of openai/whisper's decoding.py and of `transformers.generate`, written over numpy rows so
that windows with different options share one running batch. A :class:`Decoding` is the state of one window;
:meth:`TokenRules.step` takes the logits of all running windows and chooses the next token of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from asr_batch.models.recognizer import DecodeOptions
from asr_batch.models.whisper.config import WhisperConfig

Float32 = NDArray[np.float32]
Likely = tuple[int, float]
"""A token and its natural log-probability."""
Rivals = tuple[Likely, ...]
_BLOCKED = np.float32(-np.inf)
RIVALS = 2
"""The most likely tokens besides the chosen one that a search may take instead."""
_SHIFT = 4  # tokens by which a text may be ahead of its draft, or behind
_LANGUAGES, _LEAST = 8, 0.001  # languages that a decoding keeps, and the least probability of one


@dataclass(slots=True)
class Decoding:
    """The decoding of one window: its options and its state.

    `tokens` are the generated ids without prompt and end-of-text, `logprobs` their natural log-probabilities,
    `logprob` their sum including end-of-text, `languages` the most likely ones at start-of-transcript.
    `rivals`: the most likely other tokens of each step, also the last one, descending, if the options ask
    for a `search`. `broken`: the logits held NaN; the text so far is kept.
    """

    options: DecodeOptions
    prompt: tuple[int, ...]
    limit: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    logprob: float = 0.0
    rivals: list[Rivals] = field(default_factory=list)
    no_speech_prob: float = float("nan")
    languages: tuple[tuple[str, float], ...] = ()
    done: bool = False
    truncated: bool = False
    broken: bool = False

    @property
    def searched(self) -> bool:
        """Whether likelier texts are to be looked for."""
        return self.options.search

    @property
    def last(self) -> int:
        """The input id of the next decoder step."""
        return self.tokens[-1] if self.tokens else self.prompt[-1]

    def expected(self, most: int) -> Sequence[int]:
        """The tokens that follow in the draft, at most this many, once a token is chosen.

        The text has as many tokens as the draft up to here, or a few more or fewer.
        """
        draft, count = self.options.draft, len(self.tokens)
        most = min(most, self.limit - count - 1)
        if not (draft and count and most > 0):
            return ()
        near = range(max(1, count - _SHIFT), min(count + _SHIFT, len(draft)) + 1)
        same = (at for at in near if draft[at - 1] == self.tokens[-1])
        at = min(same, key=lambda at: abs(at - count), default=count)
        return draft[at : at + most]

    @property
    def avg_logprob(self) -> float:
        """Mean natural log-probability over the generated ids and end-of-text."""
        return self.logprob / (len(self.tokens) + 1)


class TokenRules:
    """The rules of one model."""

    def __init__(self, config: WhisperConfig) -> None:
        self._config = config
        self._always = np.array([i for i in config.suppress if 0 <= i < config.vocab_size], np.int64)
        self._begin = np.array([i for i in config.begin_suppress if 0 <= i < config.vocab_size], np.int64)

    def start(self, options: DecodeOptions, prompt: Sequence[int]) -> Decoding:
        """The state of a window that starts with `prompt`, limited by model context and token cap."""
        context = self._config.max_target_positions - len(prompt)
        asked = options.max_new_tokens
        return Decoding(options, tuple(prompt), context if asked is None else max(1, min(asked, context)))

    def begin(self, window: Decoding, logits: Float32) -> None:
        """Keep what the logits [vocab] of start-of-transcript tell: is there speech, in which language.

        A window without a language gets the most likely one.
        """
        token = self._config.no_speech
        if token is not None:
            window.no_speech_prob = float(np.exp(logits[token] - logsumexp(logits[None])[0]))
        if self._config.multilingual:
            chances = language_chances(logits, self._config, window.options.among)
            window.languages = tuple(
                (code, chance) for code, chance in chances[:_LANGUAGES] if chance >= _LEAST
            )
            if window.options.language is None:
                self._speak(window, chances[0][0])

    def _speak(self, window: Decoding, language: str) -> None:
        """Decode a window without a language in this one: the token behind start-of-transcript."""
        window.options = replace(window.options, language=language)
        at = window.prompt.index(self._config.sot) + 1
        token = self._config.languages[language]
        window.prompt = (*window.prompt[:at], token, *window.prompt[at + 1 :])

    def step(self, running: Sequence[Decoding], logits: Float32) -> None:
        """Choose the next token of each of the `running` windows from `logits` [len(running), vocab].

        Overwrites `logits`. A window that ends is marked `done`.
        """
        if self._always.size:
            logits[:, self._always] = _BLOCKED
        for row, window in zip(logits, running, strict=True):
            self._forbid(row, window)
        greedy = logits.argmax(axis=1)
        norm = logsumexp(logits)
        for i, window in enumerate(running):
            token = int(greedy[i])
            logprob = float(logits[i, token] - norm[i])
            self._take(
                window, token, logprob, _besides(logits[i], token, norm[i]) if window.searched else None
            )

    def _take(self, window: Decoding, token: int, logprob: float, rivals: Rivals | None = None) -> None:
        if np.isnan(logprob):
            window.broken = window.done = True
            return
        if rivals is not None:
            window.rivals.append(rivals)
        window.logprob += logprob
        if token == self._config.eot:
            window.done = True
            return
        window.tokens.append(token)
        window.logprobs.append(logprob)
        if len(window.tokens) >= window.limit or window.logprob < window.options.least_logprob:
            window.done = window.truncated = True

    def _forbid(self, row: Float32, window: Decoding) -> None:
        options = window.options
        if not window.tokens:
            self._forbid_first(row, options)
        if options.timestamps and self._config.timestamp_begin is not None:
            self._timestamp_rules(row, window.tokens, self._config.timestamp_begin)

    def _forbid_first(self, row: Float32, options: DecodeOptions) -> None:
        # Stock Whisper suppresses end-of-text as the first token, which forces text onto silence. A window
        # with speech must not end before it began (docs/windows.md).
        allowed = row[self._config.eot]
        row[self._begin] = _BLOCKED
        if options.plain or options.suppress_first_eot is None:
            return
        row[self._config.eot] = _BLOCKED if options.suppress_first_eot else allowed

    def _timestamp_rules(self, row: Float32, tokens: Sequence[int], begin: int) -> None:
        if self._config.no_timestamps is not None:
            row[self._config.no_timestamps] = _BLOCKED
        last = bool(tokens) and tokens[-1] >= begin
        before = len(tokens) < 2 or tokens[-2] >= begin
        if last and before:  # a pair is complete: text or end follows
            row[begin:] = _BLOCKED
        elif last:  # an end time: its twin or end of text follows
            row[: self._config.eot] = _BLOCKED
        self._keep_time_moving(row, tokens, begin, last and not before)
        if not tokens:
            self._first_timestamp(row, begin)
        self._prefer_timestamps(row, begin)

    def _keep_time_moving(self, row: Float32, tokens: Sequence[int], begin: int, ending: bool) -> None:
        stamps = [token for token in tokens if token >= begin]
        if stamps:
            row[begin : stamps[-1] + (0 if ending else 1)] = _BLOCKED

    def _first_timestamp(self, row: Float32, begin: int) -> None:
        row[:begin] = _BLOCKED
        if self._config.max_initial_timestamp is not None:
            row[begin + self._config.max_initial_timestamp + 1 :] = _BLOCKED

    def _prefer_timestamps(self, row: Float32, begin: int) -> None:
        """Force a timestamp if all timestamps together are more likely than any word."""
        if logsumexp(row[None, begin:])[0] > row[:begin].max():
            row[:begin] = _BLOCKED


def language_chances(
    logits: Float32, config: WhisperConfig, among: Sequence[str] = ()
) -> list[tuple[str, float]]:
    """The languages with their probabilities, the most likely first, by the logits [vocab] of
    start-of-transcript. `among`: one of these is spoken (empty: any).
    """
    codes = config.codes(among)
    if not codes:
        return []
    row = logits[[config.languages[code] for code in codes]].astype(np.float64)
    weights = np.exp(row - row.max())
    found = zip(codes, (weights / weights.sum()).tolist(), strict=True)
    return sorted(found, key=lambda one: (-one[1], one[0]))


def logsumexp(rows: Float32) -> NDArray[np.float64]:
    """Log of the summed exponentials of each row [n, vocab]; -inf for a row of -inf, NaN spreads.

    Row by row: whole arrays between take 16 windows 10 MB.
    """
    return np.array([_row_logsumexp(row) for row in rows], np.float64)


def _row_logsumexp(row: Float32) -> float:
    top = row.max()
    safe = np.float32(0) if np.isneginf(top) else top
    with np.errstate(divide="ignore"):
        return float(np.log(np.exp(row - safe).sum(dtype=np.float64)) + safe)


def _besides(row: Float32, token: int, norm: float) -> Rivals:
    """The most likely tokens of `row` besides `token`; overwrites them."""
    found: list[Likely] = []
    for _ in range(RIVALS):
        row[token] = _BLOCKED
        token = int(row.argmax())
        found.append((token, float(row[token] - norm)))
    return tuple(found)

"""Rounds of the same words that were decoded one by one: what most of them say, all of them say.

A decoder mishears some of them: "Par a-d'y-o-u-s-b." among twenty times "Radio USB". Such a text is far less
likely than the usual one, although the sound is close to the others'. What is really another word ("option
two" among many "option one") is as likely as they are. Weighing several decodings of the same words against
each other is the idea of Fiscus 1997, "A post-processing system to yield reduced word error rates".
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from statistics import median

from asr_batch.models.recognizer import Samples
from asr_batch.pipeline.audio.frames import FRAMES_PER_SECOND
from asr_batch.pipeline.audio.rounds import distances
from asr_batch.pipeline.retry.hearing import Hearing, Part, together
from asr_batch.pipeline.retry.merging import Word
from asr_batch.pipeline.text.words import normal_letters
from asr_batch.pipeline.thresholds import AGREEING, AGREEING_SHARE, ALIKE_SOUND, MISHEARD


def agreed(hearing: Hearing, samples: Samples) -> Hearing:
    """The rounds of a window, of which those that sound like the usual one say what that says.

    A round keeps its own text unless that is far less likely than the usual one.
    """
    parts = hearing.parts
    names = [normal_letters(part.result.text) for part in parts]
    usual, count = Counter(name for name in names if name).most_common(1)[0] if any(names) else ("", 0)
    if count == len(parts) or count < max(AGREEING, AGREEING_SHARE * len(parts)):
        return hearing
    same = [index for index, name in enumerate(names) if name == usual]
    best = max(same, key=lambda index: parts[index].result.avg_logprob)
    likely = median(parts[index].result.avg_logprob for index in same)
    apart = distances(samples, [*(part.start for part in parts), parts[-1].end], best)
    farthest = max(ALIKE_SOUND, *(apart[index] for index in same))
    misheard = [
        bool(name) and name != usual and far <= farthest and part.result.avg_logprob < likely - MISHEARD
        for part, name, far in zip(parts, names, apart, strict=True)
    ]
    return together(
        [_saying(parts[best], part) if wrong else part for part, wrong in zip(parts, misheard, strict=True)]
    )


def _saying(text: Part, part: Part) -> Part:
    """A part with the text of another one, at its own pace."""
    pace = (part.end - part.start) / (text.end - text.start)

    def there(second: float) -> float:
        return (part.start + (second * FRAMES_PER_SECOND - text.start) * pace) / FRAMES_PER_SECOND

    words = tuple(_moved(word, there(word.place.start), there(word.place.end)) for word in text.words)
    result = replace(text.result, avg_logprob=min(part.result.avg_logprob, text.result.avg_logprob))
    return Part(part.start, part.end, result, words, text.faults)


def _moved(word: Word, start: float, end: float) -> Word:
    timed = word.timed and replace(word.timed, start=start, end=end)
    return Word(replace(word.place, start=start, end=end), timed)

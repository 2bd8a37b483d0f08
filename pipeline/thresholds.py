"""Every number that decides whether a text stands, is tried again, or is reported: one table.

"Human clips" are the even half of 380 clips in English, Spanish and French with whisper-base and
whisper-tiny.en (docs/accuracy.md has the commands); "Whisper" is Radford et al. 2022, section 4.5.
"""

from __future__ import annotations

# What a result must pass.
LEAST_SPEECH = 0.3
"""Seconds of speech (Silero) from which a window may not come back empty. Shortest spoken digits: 0.35."""

LOGPROB = -1.0
"""Mean log-probability under which a text is unlikely. Whisper."""

COMPRESSION = 2.4
"""zlib ratio above which a text repeats itself. Whisper."""

LOOP_SPAN, LOOP_TIMES, DIGIT_TIMES = 6, 4, 8
"""A phrase of up to so many words, so many times in a row, is a loop; single words (digits) need more."""

DENSEST = 24
"""Letters a second of speech that nobody exceeds; the fastest human clip has 21."""

DENSEST_TWICE = 16
"""The same for one thing written twice, as decoders do with a short word said once."""

ECHO = 4
"""Words in a row that a text shares with its prompt from which it is heard again without the prompt."""

# How long a text takes to say (pipeline.text.spoken).
WORD_SECONDS, LETTER_SECONDS = 0.12, 0.08
"""A word takes so much, and so much more for each letter as spoken."""

SPARE = 0.1
"""Seconds that any word may take longer."""

SLOW_WORDS = 4
"""Words from which a window tells how slowly its speaker speaks."""

# Speech without text.
GAP = 0.9
"""Seconds of speech beyond what its words take from which a stretch is heard again, and reported where that
finds neither more words nor as many. Joined human clips, base, 30 min: of 30 stretches over 0.3 s
one lacks words, of 7 over 0.7 s one; places of words are 80 ms coarse, and speakers linger."""

SPARSE_WORDS, ENOUGH_SPEECH = 0.5, 2.0
"""Words a second under which so many seconds of speech count as not transcribed; people say 2 to 4."""

THIN = 0.65
"""Of the recording's usual letters a second: less is tried in parts where the engine does not tell where it
listened, and reported if `TELLING_WINDOWS` windows show what is usual."""

TELLING_WINDOWS = 8
"""Windows from which a recording's own rate tells something."""

# What a further hearing must be to be believed.
LEAST_RATE, MOST_RATE = 0.8, 6.0
"""Words a second of speech of a believable text."""

WORSE = 0.1
"""By how much the log-probability of a text heard in parts may lie under that of the whole."""

SAME = 0.6
"""Of the letters that stand in a stretch: a second hearing with as many, and nothing new, confirms it."""

ALIKE = 0.8
"""Of the letters of the longer one of two hearings: the shorter one confirms what is said again and again."""

NEWS = 3
"""Letters that a second hearing must add to count as more."""

ASKED_FOR = 0.35
"""Of the missing seconds: what is put into a gap must take as long; words at its edges are heard twice."""

# How it is heard again.
PAUSE = 0.25
"""Seconds of a pause that parts two utterances; the shortest pause between joined clips."""

MARGINS = ((0.0, 0.2), (0.6, 0.6), (0.0, 0.0), (1.0, 1.0), (0.3, 0.3), (0.15, 0.5))
"""Seconds of silence before and behind an utterance of which a model says more than anybody can."""

AT_ONCE = 8
"""Windows of a recording tried again at once."""

SECONDS_TURN = 0.5
"""Share of the repair budget that is kept for the second model where there is one."""

LEAST_WINDOWS = 6
"""Windows that the repair budget allows to even the shortest row."""

# Text where nobody speaks. Human clips at -45 and -70 dBFS and in noise as loud as they are: Silero
# hears at least 1.3 s, `no_speech_prob` is at most 0.41. Ten kinds of sound without speech: Silero
# hears 0.04 s or less, `no_speech_prob` is at least 0.32, the log-probability under -0.9 or the text a
# loop. Lone synthetic digits: Silero hears 0.13 s or more, nano.en's `no_speech_prob` goes up to 0.57,
# its log-probability is above -0.6.
HARDLY = 0.3
"""Seconds of speech (Silero) under which a window's text needs another witness."""

NOTHING = 0.05
"""Seconds of speech (Silero) that are none."""

NO_SPEECH = 0.3
"""The model's no-speech probability from which it denies that somebody speaks."""

DOUBTED = -0.7
"""Log-probability under which it doubts what it wrote."""

SILENT_MODEL, SILENT_SECONDS = 0.6, 1.0
"""No-speech probability that, with an unlikely text, outweighs so many seconds of Silero. Whisper's rule."""

# The language of a row (pipeline.language).
VOTERS = 5
"""Windows with speech that vote."""

SURE_CHANCE = 0.9
"""Chance from which a row of one window has one language: of 191 human clips under 30 s, 19 lie below it, and
in 12 of these the likeliest language is wrong."""

LEAST_CHANCE, MOST_LANGUAGES = 0.05, 3
"""Languages in which such a row, or a window of a row whose voters disagree, is decoded."""

CHANCE_WEIGHT = 0.2
"""How the logarithm of the chance counts beside the mean log-probability of the text. Of the 12, the likelier
text alone mends 10 and spoils one, with this weight 10 and none."""

SECOND_LANGUAGE = 0.5
"""Chance of another language from which a voter's window counts as spoken in it."""

"""All thresholds that decide whether a text is accepted, retried, or reported.

"Human clips" are the even half of 380 clips in English, Spanish and French with whisper-base and
whisper-tiny.en (docs/accuracy.md has the commands); "Whisper" is Radford et al. 2022, section 4.5.
"""

from __future__ import annotations

# Guards of a result.
LEAST_SPEECH = 0.3
"""Seconds of speech (Silero) from which a window must have text. Shortest spoken digits: 0.35."""

LOGPROB = -1.0
"""Mean log-probability below which a text is unlikely. Whisper."""

COMPRESSION = 2.4
"""zlib ratio above which a text counts as repetitive. Whisper."""

LOOP_SPAN, LOOP_TIMES, DIGIT_TIMES = 6, 4, 8
"""A phrase of at most this many words, this many times in a row, is a loop; digits need more."""

LOOP_SENTENCE = 20
"""The same of a loop that is cut: other guards tell that the text is one."""

LOOP_LETTERS, LETTERS_TIMES = 20, 8
"""At most this many characters, this many times in a row, are a loop inside a word or in a language without
spaces ("tachachacha") if the token limit ended the text.
"""

DENSEST = 24
"""Maximum letters per second of speech; the fastest human clip has 21."""

DENSEST_TWICE = 16
"""The same for one phrase written twice. nano.en writes six of 85 synthetic digits so."""

AGAIN = 0.1
"""Share of a sentence's time that the same words behind it take at most if they are not said again. In six
recordings of human clips tiny.en gave 0.10 s to a sentence of 2.5 s that was said once.
"""

ECHO = 4
"""Consecutive words shared with the prompt from which a window is decoded again without it."""

SWAYABLE, SWAYED = -0.3, 0.2
"""Log-probability with a prompt below which a window is decoded without it as well, and how much likelier
that text must be to replace it. Human Spanish under an English sentence 60 times over, whisper-base: what it
translates has -0.9 to -0.36, the right text is likelier by 0.2 to 0.7.
"""

# Time that a text takes to say (pipeline.text.spoken).
WORD_SECONDS, LETTER_SECONDS = 0.12, 0.08
"""Seconds per word, plus seconds for each letter as spoken."""

SPARE = 0.1
"""Seconds that any word may take longer."""

LINGERING = 0.25
"""Seconds that a word before a full stop, a comma or the like may take longer. Human clips: 0.3."""

SLOW_WORDS = 4
"""Number of words from which a window shows the pace of its speaker."""

FASTEST = 0.6
"""Minimum share of the usual durations that words are expected to take. Human clips: 0.65 to 0.9 without the
lingering before marks.
"""

NUCLEUS_SECONDS, NUCLEI_WEIGHT, DRAWN_OUT = 0.3, 0.5, 0.25
"""Usual seconds of a word per syllable heard, the weight of that beside its duration, and the most seconds by
which few syllables reduce the speech that a word does not account for (in noise none is heard).
docs/retries.md has what the rule mends.
"""

# Speech without text.
SUSPECTED, GAP = 0.6, 1.1
"""Seconds of speech beyond the duration of its words from which a stretch is decoded again, and from which it
is reported if that gives neither more words nor as many. Word positions have a resolution of 80 ms, and
speakers linger. docs/accuracy.md has the share of deleted phrases that are found.
"""

ENOUGH_SPEECH = 2.0
"""Seconds of speech from which a text that takes less than half as long to say is not all that was said, for
engines without word positions.
"""

THIN = 0.65
"""Share of the recording's usual letters per second: windows with less are decoded in parts if the engine
has no word positions, and reported if `TELLING_WINDOWS` windows show the usual rate.
"""

TELLING_WINDOWS = 8
"""Number of windows from which a recording's own rate is meaningful."""

# Acceptance of a further decoding.
WORSE = 0.1
"""Maximum decrease of the log-probability of a text decoded in parts, compared with the whole."""

SAME, LONG_WORD = 0.6, 4
"""Share of the letters of a stretch that a second decoding without news must have to confirm it; and that two
texts have in common if they say the same, or two spellings of a word ("tone", "town") with as many letters.
"""

ALIKE = 0.8
"""Share of the letters of the longer of two decodings: the shorter one then confirms repeated speech."""

OTHER_LENGTH = 0.15
"""Difference of two texts in how far the time they take to say is from that of the speech (log ratio), from
which one of them has a loop; one of six repetitions too many makes 0.18.
"""

ASKED_FOR = 0.35
"""Share of the missing seconds that text for a gap must take to say; words at its edges are decoded twice."""

LIKELY_FILL = -0.58
"""Minimum log-probability of text for a gap of less than `GAP`, in which mostly nothing is missing.
whisper-base, 30 and 10 s: in 3 h of joined and repeated clips, both texts below it were wrong; of words
deleted from its texts, two came back with less.
"""

# Further decodings.
SHORT_PAUSE = 0.15
"""Seconds of a pause between two utterances of a window. Of eight words and sentences said five times, 0.15
finds five utterances after pauses of 0.15 s, and in seven after pauses of 0.05 s; 0.25 in five and in one.
"""

ALIKE_SOUND, ALIKE_SOUND_LEFT = 0.47, 0.2
"""Distance of two rounds of the same words (pipeline.audio.rounds), and how much more than the best one a
shorter round may have. Second takes of 14 sentences by the same voices, 5 % faster or slower, in noise 20 dB
below: 13 have 0.21 to 0.44; clips of the half tuned on, said again so: 0.10 to 0.42. The most similar
neighbours of 431 places in ordinary speech: 0.35 or more, median above 0.5.
"""

AGREEING, AGREEING_SHARE, MISHEARD = 3, 1 / 3, 0.3
"""Rounds, and share of all rounds, with the same text from which others that sound the same are corrected,
and the least difference of their log-probabilities. In 90 lists of a sentence and a digit that changes, a
digit really heard is less likely by at most 0.13; of 20 short clips of the half tuned on, said 20 times,
grossly misheard rounds by 0.43 or more.
"""

BRIEF, UNCLEAR = 8.0, -0.4
"""Seconds of a window and log-probability of its text below which it is decoded in other surroundings. Of 382
short clips of other people, 41 % are decoded again.
"""

BEFORE, SURROUNDED = 0.3, 12.0
"""Seconds of silence before, and in all. docs/retries.md has what they gain."""

UNLIKELY, UNLIKELY_BESIDE, AS_MUCH = -0.35, -0.2, 0.8
"""Log-probability of a text below which a short window is decoded together with its neighbours, if theirs are
below the second; the shorter text must have this share of the other one's letters. docs/retries.md compares
others. Of 321 windows of 10 s of clear English, Spanish and French (even half), one is below the first.
"""

FIRST_TOKEN, RECURRING = -1.0, 0.2
"""Log-probability of the first token of a text, and probability of other words where a recurring one was
written first: below the one or above the other, the window is decoded again after the text before it.
docs/accuracy.md compares others.
"""

AS_LIKELY = 0.01
"""How much less likely its text may be then: with 0 to 0.02, none of the windows asked became worse."""

LIKELY_BEFORE = -0.1
"""Log-probability that the text before must have: after an unlikely one, decoders repeat its misspellings."""

SHOWN = 400
"""Letters of the text before that the decoder is shown: 100 of its 223 tokens at most, in English."""

OTHER_WORDS = 0.25
"""Share of the words that may be others then; of the right texts of human clips at most 0.1 are."""

AT_ONCE = 8
"""Windows of a recording decoded again at the same time."""

GAPS_AGAIN = 2
"""Decodings of each gap that the retry budget allows beyond its share of the recording."""

SECONDS_TURN = 0.5
"""Share of the repair budget reserved for the second model, if there is one."""

LEAST_WINDOWS = 6
"""Windows that the repair budget allows at least."""

# Text without speech.
WEIGHTS = {"first": 2.8, "surest": 6.6, "absent": -5.8, "thin": -6.8, "rhythm": -6.0, "said": 0.17}
"""Weight of each witness (pipeline.unspoken) in the log of the odds that somebody speaks, fitted by
`bench.unspoken` to texts of whisper-base and whisper-tiny.en for speech and for other sounds.
"""

ANYBODY = 4.1
"""What the witnesses' sum starts from; a sum below zero leaves the text out. docs/audit.md has what other
thresholds would leave out.
"""

HOPELESS, HOPELESS_SECONDS = -3.0, 5.0
"""Sum, and seconds of speech, below which no further decoding is asked: nine in ten of the texts for sounds.
Of 1,185 right texts one or two are lost so.
"""

SYLLABLE = 6
"""Letters of a syllable that a text may repeat."""

CHANT = 0.6
"""Share of repeated letters from which a text is laughter rather than words wrongly heard."""

HARDLY = 0.3
"""Seconds of speech (Silero) below which a window is decoded without its prompt."""

SUSPECT = 0.15
"""Seconds of speech (Silero) below which text is flagged. The briefest synthetic digits have 0.13."""

NO_SPEECH = 0.3
"""No-speech probability from which the model itself indicates that nobody speaks."""

SILENT_SECONDS = 1.0
"""Seconds of speech (Silero) below which a window with a prompt is decoded without it as well."""

BELIEVED_SECONDS = 1.0
"""Seconds of speech (Silero) in confirmed rounds from which these show that somebody speaks. Of a chant,
Silero detects 0.3 s.
"""

ASTRAY = 1.0
"""Seconds from the place of a word to the nearest speech (Silero) from which it counts as invented. Human
clips, as they are, at -45 and -65 dBFS and in white noise as loud as they are: at most 0.3 s. Words for music
before a clip: 8 s or more.
"""

# The language of a row (pipeline.language).
FEW_VOTERS, VOTERS, MORE_VOTERS = 4, 8, 20
"""Windows with speech that vote; more if the first are not clear or disagree, and if these disagree."""

VOTER_SECONDS = 10.0
"""Length of a voter. Eight of 10 s cost the encoder less than half of five of 30 s, and have fewer utterances
that must vote as well.
"""

PAUSE = 0.25
"""Seconds of a pause between two utterances that tell their languages."""

ENOUGH_TO_TELL = 1.5
"""Seconds of speech that tell a language, or let texts tell it: of 91 single words of other speakers the most
likely language is right for 25, that of the likeliest text for 15.
"""

SURE_CHANCE = 0.75
"""Probability from which a row of one window has the language that the decoder detects. Of 374 human clips
305 reach it, one of these in a wrong language; below it, the most likely language is wrong for 32 of 69. With
0.7 as many are right, and four fewer of 935 files of other people, two in each half of the sources.
"""

GUESSED_CHANCE = 0.5
"""Probability below which the language of a row with less speech than ENOUGH_TO_TELL is detected again, with
the row padded to the length of the training. Of 175 words and letters in 14 languages these are 97: 74 of all
are right then, 65 without, 73 if all 122 below 0.7 are padded; faster-whisper, which pads each, has 72.
"""

LEAST_CHANCE, MOST_LANGUAGES = 0.01, 6
"""Languages in which other rows of one window are decoded: minimum probability, maximum number."""

CHANCE_WEIGHT = 0.06
"""Weight of the log language probability beside the mean log-probability of the text. Languages right of 191
clips: 187 with 0.05, 188 with 0.06, 187 with 0.08.
"""

BEST_LOGPROB = -0.25
"""No text in a less likely language is expected to be likelier: the search for one ends. Of 374 human clips
and 935 files of other people, as many languages are right as with -0.15 (367 and 548), with 151 and 760
instead of 190 and 806 decodings; with -0.3 one clip fewer.
"""

OTHER_TOKENS = 1.3
"""A text of this many times the tokens of the likeliest one may become as likely; others are not finished.
Of 374 human clips and 935 files of other people as many languages are right (367, 552) as if all are
finished, with 13 to 16 % fewer steps of these decodings; with 1.0 two files fewer of the smaller set.
"""

CLOSE_TEXTS, POOR_LOGPROB = 0.04, -0.5
"""Difference between the two likeliest texts, and log-probability of the likeliest, below which the language
is detected again with the window padded to the length of the training: for 10 of 380 clips.
"""

PADDED_SECONDS, PADDED_CHANCE = 6.0, 0.9
"""Seconds and probability below which an utterance of a row in several languages is detected so: of 380 human
clips base then detects 356 correctly, 347 without.
"""

SECOND_LANGUAGE = 0.5
"""Probability of another language from which a window of a longer row is decoded in it as well."""

ALSO_SPOKEN, NOT_SPOKEN = 0.1, 0.3
"""How much likelier a text must be than that in the main language of the row, in another one that the row is
spoken in, and in one that is heard in this window alone. Of 74 windows in a second language (recordings of
two minutes in two or three languages) 73 exceed the first, 68 the second.
"""

CONSIDERED, ADMITTED, ADMITTED_EACH = 1.0, 3.5, 0.06
"""Nats by which another language makes what is heard in the voters likelier, from which more of them are
asked, and from which the row counts as spoken in it as well: in all, and for each utterance or two seconds of
a clear voter. Recordings of one to six minutes, clips in eight languages: at least 4.8 nats and 0.06 each
where the language changes; of some 50 recordings in one language all but one (Czech: 6.9) have at most 4.0.
"""

CLEAR_CHANCE, TURN_CHANCE = 0.98, 0.8
"""Probability below which the utterances of a window count instead of it, and from which two of them in
different languages count as a change in a row of one window. Of 31 windows of human clips in two languages 28
lie below the first, of 112 in one language 43; none of 470 utterances reaches the second in a wrong language.
"""

TELLING_UTTERANCES, TELLING_LOGPROB, LOOPED = 4, -0.9, 1.0
"""Utterances whose texts tell the language of a longer row if the vote gives none SURE_CHANCE, the mean
log-probability from which they do, and what a loop is worth less. Of 86 rows in 12 languages, each 35 s of
clips or one sentence 25 times, 23 are unclear: 13 of these are right by the vote, 16 by texts. Of 68
sentences 20 times, 52 and 56 (below 0.7).
"""

DOUBTED = -0.7
"""Log-probability below which the text of a row as a whole is unlikely; in a language that was detected with
less than SURE_CHANCE, POOR_LOGPROB.
"""

HARDLY_HEARD = 0.05
"""Probability of the language given to a row up to which it has a note that another one is heard, with
TURN_CHANCE or more. Of 366 human clips whose language is given none has one; of the same clips with a wrong
language given 284.
"""

FAINTLY, RIVAL_CHANCE, RIVALS = 0.2, 0.03, 4
"""Probability of the main language of a row in an utterance up to which texts tell whether that is spoken in
another one, the least probability of such a language, and their most. Of 72 rows of human clips with a short
sentence in another language, 65 are right with 0.2, 60 with 0.1, 66 with 0.5, which asks for more texts.
"""

CHANGE_COST = 1.0
"""Cost of a change of language, in units of log probability. Joins of human clips in three languages, 83
utterances: with 0.5 to 3 at least 97 % of the seconds are in the right one, with 4 at least 86 %.
"""

"""The vocabulary of nano.en, for the sentence templates."""

# ruff: noqa: SIM905 - word lists are easier to read as text

from __future__ import annotations

ONES = "zero one two three four five six seven eight nine".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
MONTHS = ("January February March April May June July August September October November December").split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
DAYTIMES = "morning evening afternoon".split()
NAMES = (
    "Anna Peter Mary John Susan David Laura Michael Emma Thomas Sarah James Linda Robert Alice Henry "
    "Grace Oliver Julia Daniel Helen George Martha Samuel Clara Edward Rosa Victor Nina Walter Simon "
    "Karen Philip Diana Arthur Irene Hugo Lucy Martin Paula"
).split()
PLACES = (
    "London Paris Berlin Madrid Rome Vienna Boston Chicago Dublin Oslo Lisbon Geneva Sydney Toronto Tokyo "
    "Cairo Delhi Denver Seattle Glasgow Prague Athens Bergen Naples Havana Lima Quebec Zurich Dallas "
    "Munich"
).split()
THINGS = (
    "letter report meeting train ticket house garden bridge camera engine window bottle table river "
    "station market package printer battery sensor microphone recording archive folder kitchen bicycle "
    "mountain island hospital library museum factory office school computer keyboard hammer ladder mirror "
    "candle basket blanket pencil notebook calendar telephone elevator airport harbor village forest "
    "desert ocean castle tower theater stadium restaurant bakery pharmacy hotel kettle lamp carpet "
    "curtain pillow jacket button pocket wallet umbrella suitcase passport"
).split()
ADJECTIVES = (
    "red green blue old new small large heavy light quiet loud empty full broken clean dirty cheap "
    "expensive warm cold dark bright narrow wide simple strange modern ancient yellow white black brown "
    "soft hard wet dry slow fast early late"
).split()
JOBS = (
    "doctor teacher driver engineer farmer lawyer nurse painter pilot sailor singer waiter writer baker "
    "butcher carpenter dentist gardener mechanic plumber"
).split()
ANIMALS = (
    "dog cat horse rabbit tiger lion monkey elephant eagle pigeon spider turtle dolphin penguin squirrel "
    "wolf fox bear goat sheep"
).split()
FOODS = (
    "bread butter cheese apple orange banana lemon potato tomato onion pepper sugar coffee chocolate "
    "chicken salmon soup salad pancake sandwich"
).split()
VERBS = (
    "found lost bought sold painted opened closed moved cleaned repaired borrowed returned carried "
    "dropped measured counted watched described remembered forgot"
).split()
WEATHER = "cold warm rainy sunny windy cloudy foggy stormy freezing humid".split()
UNITS = (
    "meters kilometers miles minutes hours seconds pounds kilograms liters degrees percent dollars euros"
).split()
PLACEMENTS = "behind under above beside inside".split()
PHRASES = (
    "Thank you very much.",
    "How are you today?",
    "Please speak slowly.",
    "I do not understand the question.",
    "Could you repeat that, please?",
    "The meeting is over.",
    "See you tomorrow morning.",
    "That sounds like a good idea.",
    "I have no idea what happened.",
    "Everything is ready for the journey.",
    "We will wait for you outside.",
    "The door was not locked.",
    "Nobody answered the telephone.",
    "It has been raining all day.",
    "The battery is almost empty.",
    "Please leave a message after the tone.",
    "This call may be recorded.",
    "The next station is closed.",
    "Mind the gap between the train and the platform.",
    "Welcome to the museum of modern art.",
    "Turn off the light before you leave.",
    "Where did you put my keys?",
    "What time does the train leave?",
    "I would like a cup of coffee.",
    "The recording starts now.",
    "End of the recording.",
    "Testing, one, two, three.",
    "Can you hear me?",
    "I am looking for the library.",
    "Let us begin with the first question.",
)


def number(n: int) -> str:
    """`n` below a million in words: 342 is `three hundred and forty-two`."""
    if n < 10:
        return ONES[n]
    if n < 20:
        return TEENS[n - 10]
    if n < 100:
        return TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{ONES[n // 100]} hundred" + (f" and {number(n % 100)}" if n % 100 else "")
    return f"{number(n // 1000)} thousand" + (f" {number(n % 1000)}" if n % 1000 else "")


def plural(word: str) -> str:
    """The plural of one of the words above."""
    if word[-1] == "y" and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word[-1] in "sxh" else "s")

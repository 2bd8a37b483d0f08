"""Byte pairs: the same ids as the `tokenizers` library gives, without it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from asr_batch.models.store.names import bundled_path
from asr_batch.models.whisper.byte_pairs import read_byte_pairs

NANO = bundled_path("nano.en")
assert NANO is not None
FILE = NANO / "tokenizer.json"

LETTERS = [
    "abcXYZ'' ",
    "aé日本 ñß\n\t",
    "0123²½Ⅷ৩ .,!?-",
    "русский Ελ عرب हिन्दी ไทย 한글 ",
    "\u0301\u200d\u3000\xa0\u2028\x85\x1c\x1d ",
    '👍🏽🇩🇪 "$€%',
    "'s't're've'm'll'd'S ",
]


def changed(tmp_path: Path, **changes: object) -> Path:
    """A copy of nano.en's tokenizer.json with other values."""
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(FILE.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return path


def model(**changes: object) -> dict[str, object]:
    return {"model": json.loads(FILE.read_text(encoding="utf-8"))["model"] | changes}


def test_any_text_gives_what_the_library_gives() -> None:
    library, pairs = Tokenizer.from_file(str(FILE)), read_byte_pairs(FILE)
    assert pairs is not None
    chosen, found = random.Random(0), 0
    for _ in range(4000):
        text = "".join(chosen.choice(chosen.choice(LETTERS)) for _ in range(chosen.randrange(1, 14)))
        ids = pairs.encode(text)
        found += ids is not None
        assert ids in (None, library.encode(text, add_special_tokens=False).ids)
    assert found > 3900


def test_merges_may_be_pairs(tmp_path: Path) -> None:
    merges = json.loads(FILE.read_text(encoding="utf-8"))["model"]["merges"]
    listed = [one.split(" ") if isinstance(one, str) else one for one in merges]
    pairs, plain = read_byte_pairs(changed(tmp_path, **model(merges=listed))), read_byte_pairs(FILE)
    assert pairs is not None
    assert plain is not None
    assert pairs.encode(" Thank you for calling.") == plain.encode(" Thank you for calling.") != []


@pytest.mark.parametrize("text", ["<|endoftext|>", "half a character \ud800", "not in Unicode \ufdd0"])
def test_what_only_the_library_knows(text: str) -> None:
    pairs = read_byte_pairs(FILE)
    assert pairs is not None
    assert pairs.encode("a") is not None
    assert pairs.encode(text) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        model(type="WordPiece"),
        model(dropout=0.1),
        model(ignore_merges=True),
        model(end_of_word_suffix="</w>"),
        {"model": {"vocab": {"a": 0}}},
    ],
)
def test_other_tokenizers_are_left_to_the_library(tmp_path: Path, changes: dict[str, object]) -> None:
    assert read_byte_pairs(changed(tmp_path, **changes)) is None

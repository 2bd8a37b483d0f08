"""Token texts: the same as the `tokenizers` library gives, without it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from asr_batch.models.store.names import bundled_path
from asr_batch.models.whisper.token_texts import read_texts

NANO = bundled_path("nano.en")
assert NANO is not None


def changed(tmp_path: Path, **changes: object) -> Path:
    """A copy of nano.en's tokenizer.json with other values."""
    assert NANO is not None
    content = json.loads((NANO / "tokenizer.json").read_text(encoding="utf-8"))
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content | changes), encoding="utf-8")
    return path


def test_any_ids_give_what_the_library_gives(tmp_path: Path) -> None:
    assert NANO is not None
    size = Tokenizer.from_file(str(NANO / "tokenizer.json")).get_vocab_size()
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    listed = json.loads((NANO / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    more = [{"id": size + at, "content": text, **plain} for at, text in enumerate(["a word ß", "ĠĠthe"])]
    path = changed(tmp_path, added_tokens=[*listed, *more])
    library, texts = Tokenizer.from_file(str(path)), read_texts(path)
    assert texts is not None
    chosen = random.Random(0)
    for _ in range(3000):  # also halves of characters, and ids that do not exist
        ids = [chosen.randrange(size + 5) for _ in range(chosen.randrange(1, 9))]
        assert texts.decode(ids) == library.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"decoder": {"type": "WordPiece"}},
        {"decoder": None},
        {"model": {"vocab": {"a": 0, "c": 2}}},
        {"model": {"vocab": {"日": 0}}},
        {"model": {"vocab": {}}},
    ],
)
def test_other_tokenizers_are_left_to_the_library(tmp_path: Path, changes: dict[str, object]) -> None:
    assert read_texts(changed(tmp_path, **changes)) is None


def test_a_worker_starts_without_what_few_files_need() -> None:
    program = (
        "import sys; import asr_batch.workers.child.serve, asr_batch.models.whisper.recognizer;"
        "print({'av', 'urllib3', 'tokenizers', 'pyarrow', 'ray'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

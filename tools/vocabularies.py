"""Writes `models/whisper/compile/sources/vocabularies.json.xz` from two CTranslate2 folders of Whisper.

`python tools/vocabularies.py TINY_EN BASE`: both vocabularies up to their special tokens, the languages in
order, and the ids of non-speech tokens. OpenAI's own checkpoints contain none of these.
"""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "models/whisper/compile/sources/vocabularies.json.xz"


def vocabulary(folder: Path) -> dict[str, list[int] | list[str]]:
    """Tokens before `<|endoftext|>`, language codes, suppressed ids among the tokens."""
    tokens = (folder / "vocabulary.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    end = tokens.index("<|endoftext|>")
    languages = [token[2:-2] for token in tokens[end + 2 : tokens.index("<|translate|>")]]
    config = json.loads((folder / "config.json").read_text())
    return {
        "tokens": tokens[:end],
        "languages": languages,
        "suppress": [number for number in config["suppress_ids"] if number < end],
    }


if __name__ == "__main__":
    made = {
        name: vocabulary(Path(path))
        for name, path in zip(("english", "multilingual"), sys.argv[1:], strict=True)
    }
    TARGET.write_bytes(lzma.compress(json.dumps(made, ensure_ascii=False).encode(), preset=9))
    print(f"{TARGET}: {TARGET.stat().st_size / 1e3:.0f} kB")

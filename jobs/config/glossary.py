"""`--glossary FILE`: the terms of a job."""

from __future__ import annotations

from pathlib import Path

from asr_batch.manifests.errors import ConfigError
from asr_batch.pipeline.text.words import normal

MOST = 1000
"""Maximum number of terms; far fewer fit into a prompt."""


def read_glossary(path: Path) -> tuple[str, ...]:
    """Read a text file with one term per line, without duplicates; `#` starts a comment.

    Raises ConfigError.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"--glossary {path}: cannot be read ({why}); expected one term per line") from error
    terms = (" ".join(line.partition("#")[0].split()) for line in lines)
    found = tuple(dict.fromkeys(term for term in terms if normal(term)))
    if not found:
        raise ConfigError(f"--glossary {path}: has no terms; expected one term per line")
    if len(found) > MOST:
        raise ConfigError(
            f"--glossary {path}: {len(found)} terms; expected at most {MOST}, the most important first"
        )
    return found

"""The library's interface has a version, so that a stale library is named instead of computing nonsense."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from asr_batch.models.kernels import library

SOURCES = Path(library.__file__).parent / "c"
KNOWN = (9, "02e6533037e01122")
"""The version, and the digest of what its functions take."""


def test_another_interface_has_another_version() -> None:
    """Comment and head of each function that Python calls, and the structures that these take."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.h")))
    heads = re.findall(r"(?:/\*[^/]*?\*/\n)?(?:void|long|const int32_t) SET\([^{=]*", text)
    structures = dict(re.findall(r"typedef struct \{([^}]*)\} (\w+);", text))
    taken = [fields for fields, name in structures.items() if re.search(rf"\b{name} \*", " ".join(heads))]
    digest = hashlib.sha256("\n".join([*heads, *taken]).encode()).hexdigest()[:16]
    assert (len(heads) >= 10, len(taken) >= 4) == (True, True)
    assert (library._VERSION, digest) == KNOWN, (
        "raise kernels_version in c/dispatch.c and _VERSION in library.py, and write both down here"
    )

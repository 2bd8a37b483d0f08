"""What a word of a text is, in any script."""

from __future__ import annotations

import re

_DENSE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"

DENSE = re.compile(f"[{_DENSE}]")
"""Scripts that write no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han."""

WORD = re.compile(rf"[{_DENSE}][^\w\s]*|[^\s{_DENSE}]+")
"""A word: what stands between spaces, or a character of such a script with the marks after it."""

"""Settings of the pipeline: one frozen record, built from the job's settings and passed down.

Every field affects the text, so all of them are part of the settings hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How rows are cut, decoded, checked and repaired. Times in seconds.

    `window` None: the model's own. `plain` turns off everything that a reference implementation lacks:
    voice activity detection, guards, and retries. `languages` restricts language detection. `prompt` and
    `glossary` (terms, the most important first) become the prompt of every window; a row's own prompt
    replaces `prompt`.
    """

    language: str | None = None
    languages: tuple[str, ...] = ()
    task: str = "transcribe"
    prompt: str | None = None
    glossary: tuple[str, ...] = ()
    planner: Literal["silence", "stride"] = "silence"
    window: float | None = None
    plain: bool = False
    timestamps: bool = False
    word_timestamps: bool = False
    beam_size: int = 1
    max_new_tokens: int | None = None
    repair_budget: float = 0.1
    drop_hallucinations: bool = False

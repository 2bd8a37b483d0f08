"""The exceptions of asr-batch, named by consequence.

::

    AsrBatchError
    ├── ConfigError            bad usage, config, manifest or model: nothing is started, exit 2
    │   ├── ManifestError      lists every unusable line (first 20)
    │   └── ModelError         a model folder that cannot be used: expected and found, per file or tensor
    ├── OutputHeldError        another run holds the output folder, exit 5
    ├── OutputError            the output folder cannot be written (full, read-only); committed rows stay
    ├── ItemError              becomes a row with status `failed` (or `partial`), a code and a message
    ├── RetryableError         the unit is queued again, at most 3 times
    └── WorkerFatalError       the worker cannot continue: it is retired, its units run elsewhere

Every message is one sentence for a person: what is wrong, the value, and what was expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

ErrorCode = Literal[
    "not_found",
    "unreadable",
    "unsupported_codec",
    "empty_file",
    "too_short",
    "bad_span",
    "bad_channel",
    "bad_track",
    "bad_language",
    "unsupported_option",
    "fetch_failed",
    "decode_failed",
    "uncovered_speech",
    "out_of_memory",
    "worker_crashed",
    "timeout",
    "internal_error",
]
"""All values of `error_code`; docs/troubleshooting.md explains each."""

ERROR_CODES: frozenset[str] = frozenset(get_args(ErrorCode))


class AsrBatchError(Exception):
    """Base class of all errors that asr-batch raises on purpose."""

    exit_code: ClassVar[int] = 1
    """Exit code of the command that this error ends."""


class ConfigError(AsrBatchError):
    """Bad input from the user; raised before any work starts."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """An unusable cell or line of a manifest: where it is, its value, what was expected.

    Line 0 means the whole file, an empty column the whole line.
    """

    line: int
    column: str
    value: str
    expected: str

    def __str__(self) -> str:
        if not self.line:
            return f"{self.value}; expected {self.expected}"
        column = f", column {self.column!r}" if self.column else ""
        value = repr(self.value).replace("\\\\", "\\")  # bytes that are not UTF-8 stand as \\xe9 in it
        return f"line {self.line}{column}: {value}; expected {self.expected}"


class ManifestError(ConfigError):
    """A manifest that cannot be used, with every unusable line (the message shows the first 20)."""

    shown = 20

    def __init__(self, path: str, problems: Sequence[Problem]) -> None:
        self.path = path
        self.problems = tuple(problems)
        lines = [f"{path}: {problem}" for problem in self.problems[: self.shown]]
        if len(self.problems) > self.shown:
            lines.append(f"{path}: and {len(self.problems) - self.shown} more")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[ManifestError], tuple[str, tuple[Problem, ...]]]:
        return type(self), (self.path, self.problems)


class ModelError(ConfigError):
    """A model folder, file or graph that cannot be used."""


class OutputHeldError(AsrBatchError):
    """Another run holds the output folder."""

    exit_code = 5


class OutputError(AsrBatchError):
    """The output folder cannot be read or written; every committed row is safe."""


class ItemError(AsrBatchError):
    """One row cannot be transcribed; `code` is one of :data:`ERROR_CODES`, `message` one sentence."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message

    def __reduce__(self) -> tuple[type[ItemError], tuple[ErrorCode, str]]:
        return type(self), (self.code, self.message)


class RetryableError(AsrBatchError):
    """The unit may succeed on another attempt (a lost connection, a busy device)."""


class WorkerFatalError(AsrBatchError):
    """The worker cannot continue; its units run elsewhere."""

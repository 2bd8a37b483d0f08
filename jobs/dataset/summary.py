"""`summary.json` and the status file: the results and the progress of a job.

The fields are documented in docs/outputs.md; new ones may be added.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET, Struct, UnsetType, field

from asr_batch.jobs.dataset.json_files import read_document
from asr_batch.workers.pool import NodeStatus

SUMMARY = "summary.json"
STATUS = ".status.json"


class RowCounts(Struct, frozen=True, kw_only=True):
    """Rows of the manifest by status."""

    total: int = 0
    ok: int = 0
    empty: int = 0
    partial: int = 0
    failed: int = 0
    pending: int = 0

    @property
    def done(self) -> int:
        """Rows that have any status."""
        return self.ok + self.empty + self.partial + self.failed


class Gate(Struct, frozen=True):
    """One gate of the user, and whether it holds."""

    name: str
    limit: float
    value: float
    held: bool


class UsedModel(Struct, frozen=True, kw_only=True):
    """The model of the last run; `window` in seconds, `batch` in windows."""

    name: str = ""
    family: str = ""
    path: str = ""
    sha256: str = ""
    precision: str = ""
    window: float | None = None
    encoder_backend: str = ""
    provider: str = ""
    batch: int | None = None
    warning: str | None = None


class LastRun(Struct, frozen=True, kw_only=True):
    """Figures of the last run alone."""

    rows: int = 0
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0
    rtfx: float = 0.0


class Point(Struct, frozen=True, kw_only=True):
    """Progress of the job after `t` seconds of wall time."""

    t: float
    audio_seconds: float
    rows: int


class ReferenceSize(Struct, frozen=True):
    """Number of words of all references."""

    reference: int


class Summary(Struct, kw_only=True):
    """summary.json.

    Seconds of audio, speech and decoding cover all finished rows; `wall_seconds` sums the runs of the job,
    `rtfx` is audio over wall seconds. `words`, `wer` and `cer` exist if rows have references. `exit_code`
    and `finished_at` are None while the job runs.
    """

    version: str = ""
    dataset: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    ending: str = ""
    exit_code: int | None = None
    rows: RowCounts = RowCounts()
    errors: dict[str, int] = field(default_factory=dict)
    audio_seconds: float = 0.0
    speech_seconds: float = 0.0
    decoded_seconds: float = 0.0
    wall_seconds: float = 0.0
    rtfx: float = 0.0
    coverage: float = 1.0
    gates: tuple[Gate, ...] = ()
    nodes: tuple[NodeStatus, ...] = ()
    model: UsedModel = UsedModel()
    occupancy: float = 0.0
    run: LastRun = LastRun()
    history: tuple[Point, ...] = ()
    words: ReferenceSize | UnsetType = UNSET
    wer: float | UnsetType | None = UNSET
    cer: float | UnsetType | None = UNSET


class InFlight(Struct, frozen=True):
    """A unit that a worker is processing."""

    id: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The progress of a job. Seconds are audio seconds except `eta`; `share` is of all audio, 0 to 1.

    `done` counts committed rows; `rtfx` is None until the speed is known. `stops_in`: the seconds after which
    a job that is asked to stop gives up the files in progress.
    """

    rows: int
    done: int
    failed: int
    partial: int
    audio_seconds: float
    share: float
    rtfx: float | None
    eta: float | None
    nodes: tuple[NodeStatus, ...] = ()
    state: str = "running"
    stops_in: float | None = None


class Status(Summary, kw_only=True):
    """The status file: the current summary, units in progress, and the progress of a running job."""

    in_flight: tuple[InFlight, ...] = ()
    view: View | None = None

    @classmethod
    def of(cls, summary: Summary, in_flight: tuple[InFlight, ...] = (), view: View | None = None) -> Status:
        """The status with the fields of a summary."""
        fields = {name: getattr(summary, name) for name in summary.__struct_fields__}
        return cls(**fields, in_flight=in_flight, view=view)


def find_summary(root: Path) -> Summary | None:
    """summary.json of a data set; None before its first stop."""
    return read_document(root / SUMMARY, Summary)


def find_status(root: Path) -> Status | None:
    """The status that the current or last run wrote every few seconds."""
    return read_document(root / STATUS, Status)

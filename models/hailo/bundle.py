"""HEF files in a bundle: the list `npu` in bundle.json, the files in `hailo/`, the probe reference.

Each entry has `file` (relative path), `sha256`, `role` (`encoder` or `decoder`), `arch` (chip) and `compiler`
(DFC version). A bundle may hold HEFs for several chips; the device decides which one is used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from asr_batch.manifests.errors import ModelError
from asr_batch.manifests.replacing import replacing
from asr_batch.models.encoder import Encoder
from asr_batch.models.hailo.hef import read_header, runs_on
from asr_batch.models.hailo.recovery.probe import make_probe

FOLDER = "hailo"
PROBE = "hailo/probe.npz"
Role = Literal["encoder", "decoder"]


@dataclass(frozen=True, slots=True)
class HefEntry:
    """One HEF of a bundle, as listed in bundle.json."""

    file: str
    sha256: str
    role: str
    arch: str
    compiler: str = ""


def hef_entries(bundle: Path) -> list[HefEntry]:
    """The HEFs of a bundle. Raises ModelError when bundle.json cannot be read."""
    try:
        return [HefEntry(**entry) for entry in _read(bundle).get("npu", [])]
    except TypeError as exc:
        raise ModelError(
            f"{bundle / 'bundle.json'}: bad entry in `npu`: {exc}; run `models add-hef` again"
        ) from exc


def _read(bundle: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ModelError(
            f"{bundle}: no readable bundle.json; create a bundle with `asr-batch models compile`"
        ) from exc
    return found


def choose_hef(bundle: Path, device: str, role: Role = "encoder") -> Path:
    """The best HEF of a bundle for chip `device` (empty: the first), after checking its sha256.

    Raises ModelError when there is none or the file has changed.
    """
    entries = [entry for entry in hef_entries(bundle) if entry.role == role]
    if not entries:
        raise ModelError(
            f"{bundle}: the bundle has no Hailo {role}; add one with "
            f"`asr-batch models add-hef {bundle} FILE.hef`"
        )
    wanted = runs_on(device) if device else tuple(entry.arch for entry in entries)
    for arch in wanted:
        for entry in entries:
            if entry.arch == arch:
                return _checked(bundle, entry)
    raise ModelError(
        f"{bundle}: its Hailo {role} is for {', '.join(entry.arch for entry in entries)}, but the device is "
        f"a {device}; compile one with `asr-batch models compile SRC DST --target {device}` and the vendor's "
        "compiler"
    )


def _checked(bundle: Path, entry: HefEntry) -> Path:
    path = bundle / entry.file
    if not path.is_file():
        raise ModelError(f"{path}: missing; run `asr-batch models add-hef` again")
    if (found := _sha256(path)) != entry.sha256:
        raise ModelError(
            f"{path}: sha256 is {found[:16]}…, but bundle.json has {entry.sha256[:16]}…; the file was "
            "changed or is damaged: run `asr-batch models add-hef` again"
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def add_hef(bundle: Path, hef: Path, *, cpu: Callable[[], Encoder], role: Role | None = None) -> HefEntry:
    """Add a compiled network to a bundle: check its header, copy it, list it, make the probe reference.

    `role` None: a file with `decoder` in its name is a decoder, any other an encoder. `cpu` opens the
    bundle's CPU encoder. A HEF replaces the previous one for the same chip and role. Raises ModelError.
    """
    _read(bundle)
    header = read_header(hef)
    if header.arch.startswith("unknown"):
        raise ModelError(f"{hef}: compiled for an unknown chip: {header.arch}")
    role = role or ("decoder" if "decoder" in hef.name.lower() else "encoder")
    folder = bundle / FOLDER
    folder.mkdir(exist_ok=True)
    target = folder / f"{role}-{header.arch}.hef"
    _copy(hef, target)
    entry = HefEntry(f"{FOLDER}/{target.name}", _sha256(target), role, header.arch, header.compiler)
    if role == "encoder":
        encoder = cpu()
        try:
            make_probe(encoder, _frames(bundle), bundle / PROBE)
        finally:
            encoder.close()
    _list(bundle, entry)
    return entry


def _frames(bundle: Path) -> int:
    """Log-mel frames of a window of the HEF: the kit's that it was made with, else of 10 s at most. An NPU
    that finds a reference of another length makes one when it opens.
    """
    kit = bundle / FOLDER / "kit.json"
    try:
        return int(json.loads(kit.read_text(encoding="utf-8"))["frames"])
    except (OSError, ValueError, KeyError, TypeError):
        return round(100 * min(10.0, float(_read(bundle).get("window", 10))))


def _copy(source: Path, target: Path) -> None:
    if not (target.exists() and target.samefile(source)):
        with replacing(target) as part:
            shutil.copyfile(source, part)


def _list(bundle: Path, entry: HefEntry) -> None:
    data = _read(bundle)
    kept = [one for one in data.get("npu", []) if (one["role"], one["arch"]) != (entry.role, entry.arch)]
    data["npu"] = [*kept, asdict(entry)]
    with replacing(bundle / "bundle.json") as part:
        part.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")

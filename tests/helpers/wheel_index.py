"""Wheels that hold a model's files, in a folder that pip takes for an index (`--find-links`)."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

from asr_batch.models.store.catalogue import Hub, KnownModel, Wheel, Wheels


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> Wheel:
    """A wheel `name` 1.0 with these files; its module would leave a trace if it were ever imported."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    path = folder / f"{module}-1.0-py3-none-any.whl"
    trace = f"open({str(folder / 'code-was-run')!r}, 'w')".encode()
    info = f"{module}-1.0.dist-info"
    whole = files | {
        f"{module}/__init__.py": trace,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for member, content in whole.items():
            out.writestr(member, content)
    return Wheel(name, "1.0", hashlib.sha256(path.read_bytes()).hexdigest())


def model_in_wheels(folder: Path, model: Path, name: str = "whisper-base") -> KnownModel:
    """The CTranslate2 folder `model` in two wheels, its model.bin cut in halves; and as a known model."""
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    whole = files.pop("model.bin")
    half = len(whole) // 2
    one = {f"part_one/data/{file}": content for file, content in files.items()}
    wheels = (
        wheel(folder, "part-one", one | {"part_one/data/model.bin.part1": whole[:half]}),
        wheel(folder, "part-two", {"part_two/data/model.bin.part2": whole[half:]}),
    )
    members = {file: (f"part_one/data/{file}",) for file in files}
    members["model.bin"] = ("part_one/data/model.bin.part1", "part_two/data/model.bin.part2")
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in model.iterdir()}
    origins = (
        Hub("Systran/faster-whisper-base", {"model.bin": hashes["model.bin"]}),
        Wheels(wheels, members, hashes),
    )
    return KnownModel(name, origins, "ctranslate2", "MIT", 74, 148, "99 languages")

"""The direction between rooms and the homes of vendor packages, read from the source by `ast`."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ["manifests", "models", "pipeline", "workers", "jobs"]  # each may import those before it
VENDORS = {
    "ray": ["workers/"],
    "hailo_platform": ["models/hailo/api.py"],
    "onnxruntime": ["models/"],
    "soundfile": ["pipeline/audio/decoders/libsndfile.py"],
    "av": ["pipeline/audio/decoders/"],
    "soxr": ["pipeline/audio/reader.py"],
    "click": ["jobs/"],
    "rich": ["jobs/"],
    "pyarrow": ["manifests/", "jobs/"],
    "urllib3": ["manifests/download.py", "jobs/run/notices.py"],
}


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """All nodes of a file's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def sources() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def test_rooms_import_only_to_the_right() -> None:
    wrong = []
    for path in sources():
        room = path.relative_to(ROOT).parts[0]
        for line, module in imports(path):
            parts = module.split(".")
            if parts[0] == "asr_batch" and len(parts) > 1 and ROOMS.index(parts[1]) > ROOMS.index(room):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong


def modules() -> dict[str, Path]:
    """Dotted name below `asr_batch` to file, packages' own files left out."""
    found = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path for path in sources()}
    return {name: path for name, path in found.items() if not name.endswith("__init__")}


@cache
def edges() -> dict[tuple[str, str], str]:
    """Pairs of modules of which the first imports the second (imports inside functions too), and where."""
    known, found = modules(), {}
    for name, path in known.items():
        for node in nodes_of(path):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asr_batch."):
                base = (node.module or "").removeprefix("asr_batch.")
                targets = [base] if base in known else [f"{base}.{alias.name}" for alias in node.names]
                found |= {(name, target): f"{path.name}:{node.lineno}" for target in targets}
    return found


def packages() -> list[str]:
    """All folders that hold modules or folders with modules."""
    return sorted(
        {".".join(name.split(".")[:n]) for name in modules() for n in range(1, name.count(".") + 1)}
    )


@pytest.mark.parametrize("package", packages())
def test_neighbours_in_a_folder_do_not_import_in_circles(package: str) -> None:
    """Modules and sub-folders of a folder can be put in an order in which each imports only later ones."""
    prefix, below = package + ".", {}
    for (name, target), where in edges().items():
        if name.startswith(prefix) and target.startswith(prefix):
            one, other = (full.removeprefix(prefix).split(".")[0] for full in (name, target))
            if one != other:
                below.setdefault(one, {})[other] = f"{where} {name} -> {target}"
    while leaves := [one for one in below if not set(below[one]) & set(below)]:
        for leaf in leaves:
            del below[leaf]
    circle = [where for one in below.values() for other, where in one.items() if other in below]
    assert not circle


def test_folders_stay_small() -> None:
    """A folder that holds more than sixteen modules is several nouns."""
    count = Counter(name.rpartition(".")[0] for name in modules())
    assert {name: n for name, n in count.items() if n > 16} == {}


def test_imports_inside_functions_say_why() -> None:
    """What is slow to import waits until it is needed, with a comment; commands do so all over (`--help`)."""
    silent = []
    for path in sources():
        name, lines = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8").splitlines()
        if name.startswith("jobs/cli/commands/"):
            continue
        for node in nodes_of(path):
            found = ast.walk(node) if isinstance(node, ast.FunctionDef) else ()
            at = [inner.lineno for inner in found if isinstance(inner, ast.Import | ast.ImportFrom)]
            if at and "#" not in lines[min(at) - 1] and not lines[min(at) - 2].strip().startswith("#"):
                silent.append(f"{name}:{min(at)}")
    assert not silent


@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_vendor_packages_stay_at_home(vendor: str) -> None:
    wrong = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        for line, module in imports(path):
            if module.split(".")[0] == vendor and not any(name.startswith(home) for home in VENDORS[vendor]):
                wrong.append(f"{name}:{line}")
    assert not wrong


def test_the_environment_is_read_in_one_place() -> None:
    """Elsewhere variables may be set for a library (Ray, HailoRT) that reads them as it is loaded."""
    homes = {"manifests/environment.py", "models/hailo/api.py", "workers/cluster/"}
    wrong = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        for node in nodes_of(path):
            named = isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv")
            if named and not any(name.startswith(home) for home in homes):
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong


def test_packages_list_matches_the_tree() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {
        "asr_batch." + init.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for room in ROOMS
        for init in (ROOT / room).rglob("__init__.py")
    } | (set(listed["package-data"]) - {"*"})
    assert set(listed["packages"]) == found
    assert set(listed["package-dir"]) == found


def test_no_folder_shadows_the_namespace() -> None:
    assert not (ROOT / "asr_batch").exists()

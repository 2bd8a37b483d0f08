"""The documents are true in what can be checked: links, commands, options, error codes, runnable blocks."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from asr_batch.jobs.cli.main import main
from asr_batch.jobs.config.job_toml import read_config
from asr_batch.manifests.environment import VARIABLES
from asr_batch.manifests.errors import ERROR_CODES, ConfigError

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "examples").glob("*.md"),
        *(ROOT / "tools").rglob("*.md"),
    ]
)
FENCE = re.compile(
    r"(?P<mark><!-- run(?P<how>[^>]*)-->\n+)?```(?P<language>\w*)\n(?P<body>.*?)^```", re.S | re.M
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def outside_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))


def anchors(path: Path) -> set[str]:
    found = set()
    for line in re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.S | re.M).splitlines():
        if match := re.match(r"#+ (.+)", line):
            slug = re.sub(r"[^\w\s-]", "", match[1].lower()).strip()
            found.add(re.sub(r"[\s-]+", "-", slug))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    base = page.resolve().parent if page.is_symlink() else page.parent
    for link in LINK.findall(outside_code(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            assert link.startswith(("https://", "mailto:")), link
            continue
        target, _, anchor = link.partition("#")
        path = base / target if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            wrong.append(link)
    assert not wrong


def test_every_error_code_has_its_paragraph_and_no_other() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    told = re.findall(r"^### `(\w+)`$", text, flags=re.M)
    assert sorted(told) == sorted(ERROR_CODES)


def test_the_site_names_only_pages_that_exist_and_each_once() -> None:
    hook = runpy.run_path(str(ROOT / "tools" / "mkdocs_nav.py"))
    listed = list(hook["pages"](yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]))
    assert len(listed) == len(set(listed))
    assert all((ROOT / "docs" / name).is_file() for name in listed)


def blocks(page: Path) -> Iterator[re.Match[str]]:
    yield from FENCE.finditer(page.read_text("utf-8"))


def shown_commands(page: Path) -> Iterator[list[str]]:
    """The words of every `asr-batch …` that a page shows, in a console block or within a line."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.S | re.M)
    for command in re.findall(r"`asr-batch ([^`]+)`", text):
        if not re.search(r"…|<|\\\|", command):
            yield shlex.split(command)
    for block in blocks(page):
        if block["language"] not in ("", "console", "bash", "sh"):
            continue
        for line in block["body"].replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            for part in re.split(r"\s(?:&&|\|\||;|\|)\s", line):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"\w+=\S*", words[0]):
                    words = words[1:]
                if words[:1] == ["asr-batch"]:
                    yield words[1:]


def check_command(words: list[str]) -> None:
    """Follow the words through the groups of click; every option must exist where it stands."""
    command: click.Command = main
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, f"asr-batch {' '.join(words)}: no command {rest[0]}"
        command, rest = found, rest[1:]
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for word in rest:
        if word.startswith("-") and word != "-":
            option = word.partition("=")[0]
            assert option in known | {"--help", "-h", "--version"}, (
                f"asr-batch {' '.join(words)}: no {option}"
            )


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_shown_exists_with_its_options(page: Path) -> None:
    for words in shown_commands(page):
        check_command(words)


def test_the_check_of_commands_can_fail() -> None:
    with pytest.raises(AssertionError, match="no command"):
        check_command(["transcribe", "x"])
    with pytest.raises(AssertionError, match="no --frobnicate"):
        check_command(["models", "list", "--frobnicate"])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_are_python(page: Path) -> None:
    for block in blocks(page):
        if block["language"] == "python":
            ast.parse(block["body"])


RUNNABLE = [
    pytest.param(
        page,
        number,
        id=f"{name(page)}-{number}",
        marks=[pytest.mark.slow] if "slow" in (block["how"] or "") else [],
    )
    for page in PAGES
    if not page.is_symlink()
    for number, block in enumerate(blocks(page))
    if block["mark"]
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples and the output of one run over some of them, as a reader would have it."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "home").mkdir()
    rows = (folder / "examples" / "manifest.csv").read_text("utf-8").splitlines(keepends=True)
    few = [row for row in rows if row.startswith(("id,", "telephone,", "studio,", "silence,", "missing,"))]
    (folder / "examples" / "few.csv").write_text("".join(few), encoding="utf-8")
    done = shell(folder, "asr-batch run examples/few.csv --out out/first --no-ray --quiet")
    assert done.returncode == 3, done.stderr
    return folder


def shell(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"HOME": str(folder / "home"), "PATH": paths, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=170
    )


@pytest.mark.parametrize(("page", "number"), RUNNABLE)
def test_blocks_marked_as_runnable_run(page: Path, number: int, place: Path) -> None:
    """`<!-- run -->` before a block; `<!-- run: exit 3 -->` expects that code, `slow` marks a long one."""
    block = list(blocks(page))[number]
    expected = int(match[1]) if (match := re.search(r"exit (\d+)", block["how"])) else 0
    if block["language"] == "python":
        (place / "block.py").write_text(block["body"], encoding="utf-8")
        done = shell(place, f"{shlex.quote(sys.executable)} block.py")
    else:
        lines = [
            line[2:] for line in block["body"].replace("\\\n", " ").splitlines() if line.startswith("$ ")
        ]
        done = shell(place, "set -e\n" + "\n".join(lines))
    assert done.returncode == expected, done.stdout + done.stderr


def test_the_page_on_architecture_names_every_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rooms = ("jobs", "workers", "pipeline", "models", "manifests")
    folders = {path.parent.relative_to(ROOT) for room in rooms for path in (ROOT / room).rglob("__init__.py")}
    assert [str(folder) for folder in sorted(folders) if f"{folder.name}/" not in text] == []


def test_the_settings_page_lists_every_variable_of_the_environment() -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert [f"| `{name}` | {effect} |" for name, effect in VARIABLES.items()] == re.findall(
        r"^\| `[A-Z0-9_]+` \| .* \|$", text.partition("Libraries read others")[0], flags=re.M
    )


def test_the_error_on_the_settings_page_is_the_one_that_is_printed(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    (printed,) = re.findall(r"^asr-batch: job\.toml:3: (.*)$", text, flags=re.M)
    (tmp_path / "job.toml").write_text("\n\nbeam_size = 40\n")
    with pytest.raises(ConfigError, match=re.escape(f"job.toml:3: {printed}")):
        read_config(tmp_path / "job.toml")

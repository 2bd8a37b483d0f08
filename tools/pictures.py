"""Makes the pictures of README and docs from real runs: `make pictures`.

    python tools/pictures.py [--only terminal|report] [--out docs/images]

*terminal*: `asr-batch run examples/manifest.csv` on a pseudo-terminal of 120 columns; its final screen,
including colours, becomes `demo.svg`. *report*: a screenshot of `asr-batch report` for the same data set
by headless Chromium becomes `report.png`. `tests/docs/test_pictures.py` runs the first one again and
compares.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

COLUMNS, LINES = 120, 200
RUN = ["run", "examples/manifest.csv", "--out", "out/demo", "--model", "tiny.en"]
ROOT = Path(__file__).resolve().parent.parent


def on_terminal(arguments: list[str], cwd: Path) -> bytes:
    """Everything that a command of asr-batch writes to a terminal, with a temporary home folder."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
        "HOME": str(cwd),
        "PATH": path,
    }
    command = [sys.executable, "-m", "asr_batch.jobs", *arguments]
    process = subprocess.Popen(command, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    chunks = []
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other end is closed
            chunk = b""
        if not chunk:
            break
        chunks.append(chunk)
    process.wait()
    os.close(ours)
    return b"".join(chunks)


def screen_lines(written: bytes) -> list[list[tuple[str, str]]]:
    """The final screen: per line, pieces of text with their style in rich's syntax."""
    import pyte

    screen = pyte.Screen(COLUMNS, LINES)
    pyte.ByteStream(screen).feed(written)
    lines = []
    for row in range(LINES):
        pieces: list[tuple[str, str]] = []
        for column in range(COLUMNS):
            char = screen.buffer[row][column]
            colour = {"default": "", "brown": "yellow"}.get(char.fg, char.fg)  # brown: yellow in VT terminals
            style = " ".join(filter(None, (char.bold and "bold", colour)))
            if pieces and pieces[-1][1] == style:
                pieces[-1] = (pieces[-1][0] + char.data, style)
            else:
                pieces.append((char.data, style))
        lines.append(pieces)
    while lines and not "".join(text for text, _ in lines[-1]).strip():
        lines.pop()
    return lines


def demo_on_terminal(work: Path, store: Path) -> list[list[tuple[str, str]]]:
    """The demo in the new folder `work`, with the models of `store`, and its prompt."""
    shutil.copytree(ROOT / "examples", work / "examples")
    models = work / ".cache" / "asr-batch" / "models"
    models.parent.mkdir(parents=True)
    models.symlink_to(store.resolve())
    prompt = [("$ ", "bold green"), (f"asr-batch {' '.join(RUN)}", "bold")]
    return [prompt, *screen_lines(on_terminal(RUN, work))]


def terminal_picture(target: Path, lines: list[list[tuple[str, str]]]) -> None:
    """The lines as SVG."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)
    console.save_svg(str(target), title="asr-batch")


def report_picture(target: Path, work: Path) -> None:
    """A screenshot of the report page of the run in `work`."""
    page = work / "report.html"
    report = [sys.executable, "-m", "asr_batch.jobs", "report", "out/demo", "--to", str(page)]
    subprocess.run(report, cwd=work, check=True, stdout=subprocess.DEVNULL)
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("report.png needs Chromium: apt install chromium")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
    ]
    flags += ["--disable-background-networking", f"--user-data-dir={work / 'browser'}"]
    command = [browser, *flags, "--window-size=1100,1500", f"--screenshot={target}", page.as_uri()]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=["terminal", "report"])
    parser.add_argument(
        "--store", type=Path, default=ROOT / ".cache" / "real", help="models (make real-models)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        work = Path(folder)
        lines = demo_on_terminal(work, args.store)
        if args.only != "report":
            terminal_picture(args.out / "demo.svg", lines)
        if args.only != "terminal":
            report_picture((args.out / "report.png").resolve(), work)


if __name__ == "__main__":
    main()

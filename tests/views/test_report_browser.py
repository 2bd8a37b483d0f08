"""The report opened in headless Chromium, at the width of a phone and of a desk, light and dark."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from asr_batch.jobs.views.report.page import write_report

pytest.importorskip("asr_batch.pipeline.audio.reader")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    *("--virtual-time-budget=4000", "--dump-dom"),
]

PROBE = """<script>
addEventListener("load", async () => {
  document.querySelectorAll("details").forEach(e => { e.open = true; });
  const clips = [...document.querySelectorAll("audio")];
  const ready = clip => new Promise(done => {
    if (clip.readyState > 0) return done();
    clip.addEventListener("loadedmetadata", done); clip.addEventListener("error", done);
  });
  await Promise.all(clips.map(ready));
  const box = e => e.getBoundingClientRect();
  const played = [];
  for (const clip of clips) {
    clip.muted = true;
    try { await clip.play(); played.push(!clip.paused); } catch (error) { played.push(String(error)); }
  }
  parent.postMessage(JSON.stringify({
    overflow: document.documentElement.scrollWidth - innerWidth,
    durations: clips.map(clip => clip.duration),
    played: played,
    plots: [...document.querySelectorAll("svg")].map(e => box(e).width > 100 && box(e).height > 12),
    cut: [...document.querySelectorAll("svg text")].filter(e => box(e).left < box(e.ownerSVGElement).left - 1
      || box(e).right > box(e.ownerSVGElement).right + 1).map(e => e.textContent),
    smallest: Math.min(...[...document.querySelectorAll("svg text")].map(e => box(e).height)),
    page: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color,
  }), "*");
});
</script>"""

FRAME = """<body style="margin:0"><pre id="told"></pre><script>
addEventListener("message", e => {{ document.getElementById("told").textContent = e.data; }});
</script><iframe src="page.html" allow="autoplay" style="width:{width}px;height:3000px;border:0"></iframe>"""


@pytest.fixture
def report(make, tmp_path):
    texts = {"reference": "the red house"}
    rows = [
        make.row(f"row-{n}", "a red house", **texts, node=f"node-with-a-long-name-{n % 3}") for n in range(8)
    ]
    rows.append(make.row("x" * 200, status="failed", error_message="y" * 300, audio="z" * 300))
    rows.append(make.row("half", status="partial", error_code="uncovered_speech", coverage=0.5))
    windows = [
        make.window(f"row-{n}", avg_logprob=-n / 5, flags=["suspect_hallucination"] * (n > 5))
        for n in range(8)
    ]
    for n in range(8):
        make.tone(tmp_path / "data" / f"row-{n}.wav", 4.0)
    job = {"manifest": {"path": "m.csv", "base": str(tmp_path / "data"), "remote": False}}
    summary = make.summary(rows)
    summary["model"]["warning"] = "nano.en knows synthetic speech only"
    return write_report(make.dataset(tmp_path / "out", rows, windows, summary, job))


def opened(page, tmp_path, width, dark=False):
    """What a script inside the page measured (the page itself runs none: its policy is lifted in a copy)."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', PROBE, page.read_text())
    (tmp_path / "page.html").write_text(text)
    (tmp_path / "frame.html").write_text(FRAME.format(width=width))
    flags = [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--autoplay-policy=no-user-gesture-required"]
    flags += ["--blink-settings=preferredColorScheme=0"] * dark + [f"--window-size={max(600, width)},3000"]
    done = subprocess.run(
        [BROWSER, *flags, f"file://{tmp_path / 'frame.html'}"], capture_output=True, text=True, timeout=90
    )
    told = re.search(r'<pre id="told">(.+?)</pre>', done.stdout, re.DOTALL)
    assert told, done.stderr[-2000:]
    return json.loads(unescape(told.group(1)))


def test_reads_and_plays_on_phone_and_desk_light_and_dark(report, tmp_path):
    phone, desk = opened(report, tmp_path, 320), opened(report, tmp_path, 1280, dark=True)
    for found in (phone, desk):
        assert found["overflow"] <= 0
        assert found["durations"] == pytest.approx([4.0] * 7, abs=0.05)  # the certain row is not listed
        assert found["played"] == [True] * 7
        assert len(found["plots"]) >= 7
        assert all(found["plots"])
        assert found["cut"] == []
        assert found["smallest"] >= 8
    light, dark = (sum(map(int, re.findall(r"\d+", found["page"]))) for found in (phone, desk))
    assert light > 600 > 150 > dark
    assert phone["ink"] != desk["ink"]


def test_its_own_policy_blocks_nothing_of_it(report, tmp_path):
    flags = [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr"]
    done = subprocess.run([BROWSER, *flags, f"file://{report}"], capture_output=True, text=True, timeout=90)
    assert "<article" in done.stdout
    assert "Refused to" not in done.stderr
    assert "Content Security Policy" not in done.stderr

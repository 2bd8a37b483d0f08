from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
import wave
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from asr_batch.jobs.cli.main import main
from asr_batch.jobs.dataset.lock import hold
from asr_batch.jobs.views.report.charts import rates
from asr_batch.jobs.views.report.data import gather
from asr_batch.jobs.views.report.listening import WEIGHTS, badness_of
from asr_batch.jobs.views.report.page import write_report
from asr_batch.jobs.views.report.svg import area, bars, columns, number, ticks
from asr_batch.jobs.views.report.text import clock, marks, percent, span

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Ids, links and open elements of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.tags, self.urls, self.open = [], [], [], []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "action", "poster", "data"):
                self.urls.append(value)
            assert not name.startswith("on"), name

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


@pytest.fixture
def night(make, tmp_path):
    """A job with every status, references, two nodes, a hostile row, and audio."""
    folder = tmp_path / "data"
    rows = [
        make.row(
            f"r{n}", "the red house", reference="the red house" if n % 2 else "a red mouse", node=f"n{n % 2}"
        )
        for n in range(10)
    ]
    rows.append(make.row("quiet", "", status="empty"))
    partial = {
        "error_code": "uncovered_speech",
        "error_message": "1.5 s of speech lack text",
        "coverage": 0.6,
    }
    rows.append(make.row("half", "the red", status="partial", **partial))
    rows.append(make.row(HOSTILE, status="failed", error_message=HOSTILE, audio=HOSTILE, node=HOSTILE))
    windows = [make.window(row["id"], text=row["text"]) for row in rows if row["text"]]
    windows[3] |= {"flags": ["uncovered", HOSTILE], "text": HOSTILE, "avg_logprob": -2.0}
    windows[4] |= {"avg_logprob": -0.9}
    make.tone(folder / "r3.wav", 4.0)
    summary = make.summary(rows, wer=0.25)
    summary["nodes"][0]["note"] = HOSTILE
    summary["gates"][0] |= {"name": "min_coverage", "held": False}
    summary["model"]["warning"] = f"the demonstration model knows synthetic speech only {HOSTILE}; `x`"
    job = {"manifest": {"path": str(folder / "m.csv"), "base": str(folder), "remote": False}}
    return make.dataset(tmp_path / "out", rows, windows, summary, job, parts=2)


def test_all_sections_are_there_once_and_well_formed(night):
    page = Page(write_report(night).read_text())
    assert page.open == []
    expected = {"warning", "verdict", "summary", "throughput", "nodes", "durations", "coverage", "confidence"}
    expected |= {"flags", "errors", "wer", "wer-node"}  # all rows have one language, length and backend
    expected |= {"troubled", "worst", "mistaken"}
    assert expected == set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "Finished, but a gate does not hold: min coverage." in page.text
    assert "asr-batch retry" in page.text


def test_nothing_outside_the_page_and_no_script(night):
    text = write_report(night).read_text()
    page = Page(text)
    assert all(url.startswith("data:audio/wav;base64,") for url in page.urls)
    assert {"script", "link", "img", "iframe", "object", "form"}.isdisjoint(page.tags)
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", text)
    assert "default-src 'none'" in text


def test_hostile_text_is_shown_not_run(night):
    text = write_report(night).read_text()
    assert "<script" not in text
    assert "onerror=alert" not in text.replace("onerror=alert(1)&gt;", "")
    page = Page(text)
    assert page.text.count("<script>alert(1)</script>") >= 6


def test_plots_are_valid_xml(night):
    text = write_report(night).read_text()
    plots = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(plots) >= 8
    for plot in plots:
        for element in ElementTree.fromstring(plot).iter():
            for name in ("x", "y", "width", "height"):
                assert float(element.get(name, "0")) >= 0


def test_snippet_is_the_audio_of_the_window(night, make):
    pytest.importorskip("asr_batch.pipeline.audio.reader")
    page = Page(write_report(night).read_text())
    (uri,) = page.urls
    with wave.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as clip:
        assert (clip.getnchannels(), clip.getframerate()) == (1, 16000)
        assert clip.getnframes() == pytest.approx(4.0 * 16000, abs=200)
        frames = clip.readframes(16000)
    assert max(frames[1::2]) > 20
    assert "No audio: " in page.text


def test_figures_of_a_data_set(night):
    found = gather(night)
    assert dict(found.statuses) == {"ok": 10, "empty": 1, "partial": 1, "failed": 1}
    assert dict(found.codes) == {"uncovered_speech": 1, "not_found": 1}
    assert found.coverage_share == pytest.approx((10 * 4 + 0.6 * 4) / (11 * 4 + 4), abs=0.2)
    assert found.slices.total.rows == 10
    assert found.windows == 11
    assert [(row["id"], row["errors"]) for row in found.mistaken][:2] == [("r8", 2), ("r6", 2)]
    assert found.worst[0]["text"] == HOSTILE
    assert found.worst[0]["audio"] == "r3.wav"
    assert [row["status"] for row in found.troubled] == ["failed", "partial"]
    assert sum(found.confidence) == 11
    assert sum(found.coverage.counts) == 11


def test_number_of_windows_is_bounded(night):
    assert len(gather(night, worst=2).worst) == 2
    assert gather(night, worst=0).worst == []


def test_badness_prefers_flags_over_low_confidence(make):
    calm, low = make.window("a", avg_logprob=-0.05), make.window("a", avg_logprob=-1.5)
    lost = make.window("a", flags=["uncovered"], avg_logprob=-0.05)
    silent = make.window("a", text="", avg_logprob=0.0, speech=0.0)
    unheard = make.window("a", text="", speech=0.0, flags=["suspect_hallucination", "repetition"])
    assert 0.0 < badness_of(unheard) < badness_of(low)
    assert badness_of(silent) == 0.0 < badness_of(calm) < badness_of(low) < badness_of(lost)


def test_flags_that_doubt_nothing_are_no_alarm(tmp_path, make):
    windows = [
        make.window("a", flags=["silence"]),
        make.window("b", flags=["approximate_words", "recovered"]),
    ]
    found = gather(make.dataset(tmp_path / "out", [make.row("a"), make.row("b")], windows))
    assert found.flags == {"recovered": 1}
    assert badness_of(windows[0] | {"text": "", "avg_logprob": None}) == 0.0


def test_the_page_on_quality_explains_every_flag():
    page = (Path(__file__).parents[2] / "docs" / "quality.md").read_text()
    assert {flag for flag in WEIGHTS if f"`{flag}`" not in page} == set()


def test_text_that_was_left_out_is_shown_last(tmp_path, make):
    left_out = [{"source": "first", "text": "No."}, {"source": "left out", "text": "Thank you."}]
    windows = [
        make.window("breath", text="", flags=["suspect_hallucination", "repetition"], hypotheses=left_out),
        make.window("mumbled", flags=["low_logprob"], avg_logprob=-1.2),
    ]
    rows = [make.row("breath", "", status="empty"), make.row("mumbled", "Hello there.")]
    page = write_report(make.dataset(tmp_path / "out", rows, windows)).read_text()
    assert "no text; left out: <del>Thank you.</del>" in page
    assert page.index("<bdi>mumbled</bdi>") < page.index("<bdi>breath</bdi>")


def test_running_job_without_rows(make, tmp_path):
    summary = {"rows": {"total": 5, "pending": 5}}
    out = make.dataset(tmp_path / "out", [], [], summary)
    page = Page(write_report(out).read_text())
    assert "Not finished: 0 rows of 5 done, 5 to go." in page.text
    (out / "summary.json").unlink()
    assert Page(write_report(out).read_text()).open == []


def test_job_that_is_running_tells_its_latest_figures(make, tmp_path):
    out = make.dataset(tmp_path / "out", [make.row("a")], [], {"rows": {"total": 1}, "rtfx": 1.5})
    (out / ".status.json").write_text('{"rows": {"total": 9}, "wall_seconds": 2.0, "rtfx": 77.5}')
    with hold(out):
        page = Page(write_report(out).read_text())
    assert "Running: 1 row of 9 done, 8 to go." in page.text
    assert "77.5 ×" in page.text
    assert "77.5 ×" not in Page(write_report(out).read_text()).text


def test_all_is_well(make, tmp_path):
    out = make.dataset(tmp_path / "out", [make.row("a"), make.row("b")], [make.window("a")])
    page = Page(write_report(out).read_text())
    assert "Finished: all 2 rows complete." in page.text
    assert {"troubled", "notes"}.isdisjoint(page.ids)
    assert "warning" not in page.ids


def test_very_long_list_of_failures_is_cut(make, tmp_path):
    rows = [make.row(f"r{n:04}", status="failed") for n in range(450)]
    page = Page(write_report(make.dataset(tmp_path / "out", rows)).read_text())
    assert "And 250 more in transcripts/*.parquet." in page.text


def test_notes_are_listed(make, tmp_path):
    rows = [make.row("a", notes=["its language is given as es, but the model detects en"]), make.row("b")]
    page = Page(write_report(make.dataset(tmp_path / "out", rows)).read_text())
    assert "notes" in page.ids
    assert "but the model detects en" in page.text
    rows = [make.row(f"r{n:04}", notes=["track 1 is silent"]) for n in range(450)]
    page = Page(write_report(make.dataset(tmp_path / "many", rows)).read_text())
    assert "And 250 more in transcripts/*.parquet." in page.text


def test_command(night, tmp_path):
    asr = [sys.executable, "-m", "asr_batch.jobs"]
    to = tmp_path / "pages" / "page.html"
    done = subprocess.run([*asr, "report", str(night), "--to", str(to)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{to}\n")
    assert to.stat().st_size > 10_000
    for arguments in ([str(tmp_path / "none")], [str(night), "--to", f"{night}/job.json/x.html"]):
        wrong = CliRunner().invoke(main, ["report", *arguments])
        assert wrong.exit_code == 2
    assert "asr-batch report out" in CliRunner().invoke(main, ["report", "--help"]).output


def test_word_errors_are_marked():
    assert marks("The red house, now.", "the bed house") == [
        ("same", "the"),
        ("del", "red"),
        ("ins", "bed"),
        ("same", "house"),
        ("del", "now."),
    ]
    assert marks("a " * 100, "a " * 100)[-1] == ("same", "…")


def test_rates_from_history():
    assert rates([(0.0, 0.0), (10.0, 50.0), (20.0, 50.0)]) == [(0.0, 5.0), (10.0, 5.0), (20.0, 0.0)]
    assert len(rates([(float(t), float(t)) for t in range(100_000)])) <= 122
    assert rates([(5.0, 1.0)]) == []
    assert rates([(5.0, 1.0), (5.0, 2.0)]) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12345, "12,345"), (3.14159, "3.14"), (0.5, "0.5"), (12.34, "12.3"), (1e-3, "0.001")],
)
def test_numbers(value, text):
    assert number(value) == text


def test_shares_do_not_round_to_all():
    assert percent(0.99999) == "99.9 %"
    assert percent(1.0, 2) == "100.00 %"
    assert percent(None) == "-"


def test_times():
    assert [span(s) for s in (4.25, 59.96, 200, 18720)] == ["4.2 s", "1 min 0 s", "3 min 20 s", "5 h 12 min"]
    assert [span(s) for s in (86.6, 3599.6, 7199)] == ["1 min 27 s", "1 h 0 min", "2 h 0 min"]
    assert [clock(s) for s in (4.25, 59.99, 3723.4)] == ["0:04.2", "1:00.0", "1:02:03.4"]


@pytest.mark.parametrize("top", [0.0, 0.003, 1.0, 7.0, 9.99, 10.0, 123456.0])
def test_ticks_reach_the_top(top):
    marks = ticks(top)
    assert marks[0] == 0.0
    assert marks[-1] >= top * 0.999
    assert 2 <= len(marks) <= 6


def test_plots_of_odd_values():
    for plot in (
        bars([("a<b", 0.0, "0"), ("c" * 80, 5.0, "5")], "label <"),
        columns([0, 0, 3], ["0", "1"], "x"),
        area([(0.0, 0.0), (0.0, 0.0)], "x"),
    ):
        ElementTree.fromstring(plot)

"""`--on-finish` and `--webhook`: what is sent, what is tried again, and how runs end all the same."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from asr_batch.jobs.config.build import build_config
from asr_batch.jobs.console.signals import StopRequest
from asr_batch.jobs.run import notices as module
from asr_batch.jobs.run.notices import Notices


@pytest.fixture
def server():
    """An HTTP server that answers with the codes in `server.codes`, the last one for ever."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(found.codes[min(len(found.got), len(found.codes)) - 1])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    found = HTTPServer(("127.0.0.1", 0), Handler)
    found.got, found.codes = [], [200]
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


def test_a_webhook_gets_the_summary_after_refusals(run, folder, server, capfd):
    made = folder(2)
    server.codes = [503, 429, 200]
    assert run(webhook=f"http://127.0.0.1:{server.server_port}/hook?token=s3cret") == 0
    assert len(server.got) == 3
    path, kind, body = server.got[-1]
    assert (path, kind) == ("/hook?token=s3cret", "application/json")
    assert body == json.loads((made / "out/summary.json").read_text())
    assert "webhook" not in capfd.readouterr().err
    assert "s3cret" not in (made / "out/job.json").read_text()


@pytest.mark.parametrize("code", [404, 500])
def test_a_refusal_is_said_and_changes_no_exit_code(run, folder, server, capfd, monkeypatch, code):
    folder(1)
    monkeypatch.setattr(module, "TRIES", 2)
    server.codes = [code]
    assert run(webhook=f"http://127.0.0.1:{server.server_port}/s3cret") == 0
    said = capfd.readouterr().err
    assert f"the webhook at 127.0.0.1 answered {code}" in said
    assert "s3cret" not in said
    assert len(server.got) == (2 if code == 500 else 1)


def test_nobody_there_is_said(run, folder, capfd, monkeypatch):
    folder(1)
    monkeypatch.setattr(module, "TRIES", 1)
    assert run(webhook="http://127.0.0.1:1/s3cret") == 0
    said = capfd.readouterr().err
    assert "the webhook at 127.0.0.1 could not be reached" in said
    assert "s3cret" not in said


def test_a_command_gets_the_summary_and_the_code(run, folder, tmp_path, capfd):
    made = folder(1, extra="gone,gone.wav,x\n")
    text = f"cat > {tmp_path}/got; echo $ASR_BATCH_EXIT_CODE $ASR_BATCH_OUT > {tmp_path}/env; echo loud"
    assert run(on_finish=text) == 3
    assert json.loads((tmp_path / "got").read_text())["exit_code"] == 3
    assert (tmp_path / "env").read_text() == f"3 {made / 'out'}\n"
    assert capfd.readouterr().out == ""  # what the command prints stands on stderr


def test_a_command_that_fails_is_said(run, folder, capfd):
    folder(1)
    assert run(on_finish="exit 7") == 0
    assert "--on-finish 'exit 7' ended with 7" in capfd.readouterr().err


def test_nothing_is_sent_where_nothing_was_started(run, folder, tmp_path):
    folder(1)
    (tmp_path / "manifest.csv").write_text("nonsense\n")
    assert run(on_finish=f"touch {tmp_path}/sent") == 2
    assert not (tmp_path / "sent").exists()


def test_a_command_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 0.5)
    (tmp_path / "summary.json").write_text("{}")
    said: list[str] = []
    config = build_config({"manifest": "m", "out": str(tmp_path), "on_finish": "exec sleep 5"})
    notices = Notices(config, said.append)
    begun = time.monotonic()
    notices.send(tmp_path, 0)
    notices.wait(StopRequest())
    assert time.monotonic() - begun < 4
    assert "abandoned" in said[0]

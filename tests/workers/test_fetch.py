"""Remote audio: a local HTTP server that misbehaves on command, and a real S3 server where there is one."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from worker_fakes import unit

from asr_batch.manifests.errors import ItemError, RetryableError
from asr_batch.workers.fetch import Fetcher, FetchLimits, fetch, safe

BODY = random.Random(1).randbytes(900_000)
QUICK = FetchLimits(connect=2.0, read=0.5, grace=0.3, least_rate=5000.0, keep_free=1, resumes=3)


class Hostile(BaseHTTPRequestHandler):
    """`/cut` sends 300 kB at a time; `/cut-norange` too, but knows no ranges; `/flaky` fails twice first."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str | None]]

    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Range")))
        getattr(self, "send_" + self.path[1:].partition("-")[0].partition("?")[0].partition(".")[0])()

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def send_ok(self):
        self.reply(200, BODY)
        self.wfile.write(BODY)

    def send_cut(self):
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        begin = int(found[1]) if found and "norange" not in self.path else 0
        if begin:
            rest = BODY[begin:]
            self.reply(206, rest, Content_Range=f"bytes {begin}-{len(BODY) - 1}/{len(BODY)}", ETag='"v1"')
        else:
            self.reply(200, BODY, ETag='"v1"')
        # A server without ranges lets more through each time, as a bad line may.
        tries = sum(path == self.path for path, _ in self.server.seen)
        share = 300_000 * (tries if "norange" in self.path else 1)
        self.wfile.write(BODY[begin : begin + share])
        self.close_connection = True

    def send_dead(self):
        self.reply(200, BODY)
        self.close_connection = True

    def send_slow(self):
        self.reply(200, BODY)
        for index in range(100):
            self.wfile.write(BODY[index : index + 1])
            self.wfile.flush()
            time.sleep(0.05)

    def send_stuck(self):
        self.reply(200, BODY)
        self.wfile.write(BODY[:10])
        self.wfile.flush()
        time.sleep(2)

    def send_flaky(self):
        if len(self.server.seen) < 3:
            self.reply(503)
        else:
            self.send_ok()

    def send_status(self):
        self.reply(int(self.path.rpartition("-")[2]))

    def send_moved(self):
        self.reply(302, Location="/ok")

    def send_loop(self):
        self.reply(302, Location="/loop")

    def send_local(self):
        self.reply(302, Location="file:///etc/passwd")

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    made.seen, made.url = [], f"http://127.0.0.1:{made.server_port}"
    made.handle_error = lambda *args: None
    Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()


@pytest.mark.parametrize("path", ["/ok", "/cut", "/cut-norange", "/flaky", "/moved"])
def test_the_whole_file_arrives(server, tmp_path, path):
    fetch(server.url + path, tmp_path / "f", QUICK)
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_cut_download_goes_on_where_it_stopped(server, tmp_path):
    fetch(server.url + "/cut", tmp_path / "f", QUICK)
    assert [found for _, found in server.seen] == [None, "bytes=300000-", "bytes=600000-"]


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("/status-404", ItemError, "answers 404"),
        ("/status-403", ItemError, "answers 403"),
        ("/status-500", RetryableError, "answers 500"),
        ("/dead", RetryableError, "could not be fetched"),
        ("/stuck", RetryableError, "could not be fetched|only 10 bytes"),
        ("/slow", RetryableError, "bytes received in"),
        ("/loop", RetryableError, "could not be fetched"),
        ("/local", RetryableError, "could not be fetched"),
    ],
)
def test_what_cannot_be_fetched_is_told_in_time(server, tmp_path, path, error, words):
    begun = time.monotonic()
    with pytest.raises(error, match=words):
        fetch(server.url + path + "?secret=1", tmp_path / "f", QUICK) if "-" not in path else fetch(
            server.url + path, tmp_path / "f", QUICK
        )
    assert time.monotonic() - begun < 15


def test_limits_of_size_disk_and_closing(server, tmp_path):
    with pytest.raises(ItemError, match="larger than the limit of 1000 bytes"):
        fetch(server.url + "/ok", tmp_path / "f", FetchLimits(file_bytes=1000, keep_free=1))
    with pytest.raises(RetryableError, match="no space left"):
        fetch(server.url + "/ok", tmp_path / "f", FetchLimits(keep_free=1 << 60))
    stop = Event()
    stop.set()
    with pytest.raises(RetryableError, match="closing"):
        fetch(server.url + "/ok", tmp_path / "f", QUICK, stop)


def test_nobody_there(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RetryableError, match="could not be fetched"):
        fetch(f"http://127.0.0.1:{port}/x", tmp_path / "f", QUICK)


def test_messages_hold_no_secrets():
    assert safe("https://me:pass@host:8443/a/b.wav?token=1#x") == "https://host:8443/a/b.wav"


def test_spans_of_one_file_share_a_download_and_it_is_removed(server):
    fetcher = Fetcher(QUICK)
    units = [unit("a", f"{server.url}/ok", index=index, count=3) for index in range(3)]
    paths = {fetcher.source(one).result() for one in units}
    assert len(paths) == len(server.seen) == 1
    (path,) = paths
    for one in units:
        assert path.read_bytes() == BODY
        fetcher.release(one)
    assert not path.exists()
    fetcher.close()
    assert not path.parent.exists()


def test_folders_of_killed_workers_are_swept_and_those_of_live_ones_kept(server, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / "asr-batch-fetch-dead"
    dead.mkdir()
    live = Fetcher(QUICK)
    kept = live.source(unit("a", f"{server.url}/ok")).result()
    for folder in (dead, kept.parent):
        os.utime(folder, (1, 1))
    other = Fetcher(QUICK)
    other.source(unit("b", f"{server.url}/ok")).result()
    assert not dead.exists()
    assert kept.exists()
    other.close()
    live.close()
    assert list(tmp_path.iterdir()) == []


def test_a_unit_that_has_failed_often_gets_its_failure(server):
    fetcher = Fetcher(QUICK)
    with pytest.raises(RetryableError):
        fetcher.source(unit("a", f"{server.url}/status-500")).result()
    with pytest.raises(ItemError, match="answers 500") as caught:
        fetcher.source(unit("a", f"{server.url}/status-500", attempt=3)).result()
    assert caught.value.code == "fetch_failed"
    fetcher.close()


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """A real S3 server (moto's), from an environment of its own or from this one."""
    places = [Path(sys.prefix) / "s3" / "bin", Path(sys.prefix) / "bin"]
    command = shutil.which("moto_server", path=os.pathsep.join(map(str, places)))
    if command is None:
        pytest.skip("needs an S3 server: `make s3-server` installs one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([command, "-H", "127.0.0.1", "-p", str(port)], stdout=quiet, stderr=quiet)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    given = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    kept = dict(os.environ)
    os.environ.update(given)
    yield given["AWS_ENDPOINT_URL"]
    os.environ.clear()
    os.environ.update(kept)
    server.terminate()
    server.wait()


def test_s3_objects_are_read_and_missing_ones_told(s3, tmp_path):
    fs = pytest.importorskip("pyarrow.fs")
    server = fs.S3FileSystem(endpoint_override=s3, region="us-east-1", allow_bucket_creation=True)
    server.create_dir("sound")
    with server.open_output_stream("sound/a folder/é+1.wav") as stream:
        stream.write(BODY)
    fetch("s3://sound/a folder/é+1.wav", tmp_path / "f", QUICK)
    assert hashlib.sha256((tmp_path / "f").read_bytes()).digest() == hashlib.sha256(BODY).digest()
    with pytest.raises(ItemError, match="no such object"):
        fetch("s3://sound/none.wav", tmp_path / "f", QUICK)
    with pytest.raises((ItemError, RetryableError)):
        fetch("s3://no-such-bucket/none.wav", tmp_path / "f", QUICK)

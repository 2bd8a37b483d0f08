"""Remote audio: a local HTTP server that misbehaves on command, and a real S3 server where there is one."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Event

import pytest
from hostile_server import BODY, QUICK, hostile_server
from worker_fakes import unit

from asr_batch.manifests.download import Limits, safe
from asr_batch.manifests.errors import ItemError, RetryableError
from asr_batch.workers.fetch import Fetcher, fetch


@pytest.fixture
def server():
    with hostile_server() as made:
        yield made


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
        fetch(server.url + "/ok", tmp_path / "f", Limits(file_bytes=1000, keep_free=1))
    with pytest.raises(RetryableError, match="no space left"):
        fetch(server.url + "/ok", tmp_path / "f", Limits(keep_free=1 << 60))
    stop = Event()
    stop.set()
    with pytest.raises(RetryableError, match="closing"):
        fetch(server.url + "/ok", tmp_path / "f", QUICK, stop)


def test_nobody_there(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(
        RetryableError, match=r"fetched: Failed to establish a new connection: Connection refused$"
    ):
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
    assert list(fetcher._folder.iterdir()) == []
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

"""The one downloader: what it continues, what it refuses, and that a file is there whole or not at all."""

from __future__ import annotations

import hashlib

import pytest
from hostile_server import BODY, QUICK, hostile_server

from asr_batch.manifests.download import DownloadError, Request, WrongBytesError, download
from asr_batch.manifests.errors import ManifestError
from asr_batch.manifests.reader import open_manifest


@pytest.fixture
def server():
    with hostile_server() as made:
        yield made


def test_a_part_of_an_earlier_call_is_continued(server, tmp_path):
    (tmp_path / "f.part").write_bytes(BODY[:300_000])
    download(Request(server.url + "/cut"), tmp_path / "f", QUICK)
    assert (tmp_path / "f").read_bytes() == BODY
    assert server.seen[0] == ("/cut", "bytes=300000-")


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    (tmp_path / "f.part").write_bytes(b"old" * 100)
    download(Request(server.url + "/ok"), tmp_path / "f", QUICK)
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_part_that_has_everything_is_only_checked(server, tmp_path):
    (tmp_path / "f.part").write_bytes(BODY)
    download(Request(server.url + "/whole"), tmp_path / "f", QUICK)
    assert (tmp_path / "f").read_bytes() == BODY
    assert server.seen == [("/whole", f"bytes={len(BODY)}-")]


def test_what_broke_off_is_not_there_but_kept(server, tmp_path):
    with pytest.raises(DownloadError, match=r"only 10 bytes|could not be fetched") as caught:
        download(Request(server.url + "/stuck"), tmp_path / "f", QUICK)
    assert caught.value.passing
    assert [path.name for path in tmp_path.iterdir()] == ["f.part"]


def test_other_bytes_than_those_asked_for_leave_nothing(server, tmp_path):
    def check(path):
        return None if hashlib.sha256(path.read_bytes()).hexdigest() == "0" * 64 else "wrong hash"

    with pytest.raises(WrongBytesError, match="/ok: wrong hash"):
        download(Request(server.url + "/ok", check=check), tmp_path / "f", QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_until_the_new_one_is_whole(server, tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(DownloadError) as caught:
        download(Request(server.url + "/status-404"), tmp_path / "f", QUICK)
    assert not caught.value.passing
    assert (tmp_path / "f").read_bytes() == b"old"
    download(Request(server.url + "/ok"), tmp_path / "f", QUICK)
    assert (tmp_path / "f").read_bytes() == BODY


def test_the_proxy_of_the_environment_is_asked(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    download(Request("http://nowhere.invalid/ok"), tmp_path / "f", QUICK)
    assert (tmp_path / "f").read_bytes() == BODY
    assert server.seen[0][0] == "http://nowhere.invalid/ok"


@pytest.mark.parametrize("path", ["/flaky", "/cut", "/moved"])
def test_a_manifest_comes_over_a_bad_line(server, tmp_path, path):
    manifest = open_manifest(server.url + path, tmp_path / "spool" / "manifest")
    assert manifest.path.read_bytes() == BODY
    assert manifest.base.remote


def test_a_manifest_that_is_not_there_says_so(server, tmp_path):
    with pytest.raises(ManifestError, match=r"answers 404.*expected a manifest that can be downloaded"):
        open_manifest(server.url + "/status-404", tmp_path / "manifest")

"""Archives and folders that want out, or want too much: nothing of them is kept."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from asr_batch.manifests.errors import ModelError
from asr_batch.models.store import archive as store_archive
from asr_batch.models.store.store import Store

GOOD = {"config.json": b"{}", "tokenizer.json": b"{}", "onnx/encoder_model.onnx": b"x"}


def entry(name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, data


def archive(path: Path, *entries: tuple, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as out:
        for info, data in [*(entry(name, data) for name, data in GOOD.items()), *entries]:
            out.addfile(info, io.BytesIO(data))
    return path


def kept(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


HOSTILE = {
    "parent": entry("../evil"),
    "parent inside": entry("onnx/../../evil"),
    "absolute": entry("/tmp/asr-batch-evil"),
    "backslash": entry("..\\evil"),
    "symlink": entry("model", kind=tarfile.SYMTYPE, link="/etc/passwd"),
    "symlink up": entry("onnx/link", kind=tarfile.SYMTYPE, link="../../evil"),
    "hard link": entry("hard", kind=tarfile.LNKTYPE, link="/etc/passwd"),
    "device": entry("null", kind=tarfile.CHRTYPE),
    "block device": entry("disk", kind=tarfile.BLKTYPE),
    "pipe": entry("pipe", kind=tarfile.FIFOTYPE),
    "twice": entry("config.json", b"other"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_leaves_nothing_behind(tmp_path, what: str) -> None:
    source = archive(tmp_path / "model.tar", HOSTILE[what])
    with pytest.raises(ModelError):
        Store(tmp_path / "root").take("thing", source)
    assert kept(tmp_path) == {"model.tar"}
    assert not Path("/tmp/asr-batch-evil").exists()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_honest_archive_is_taken(tmp_path, mode: str) -> None:
    folder = Store(tmp_path / "root").take("thing", archive(tmp_path / "model.tar", mode=mode))
    assert kept(folder) == set(GOOD) | {".store.json"}
    assert Store(tmp_path / "root").verify("thing") == []
    assert Store(tmp_path / "root").resolve("thing") == folder


def test_an_archive_of_one_folder_is_that_folder(tmp_path) -> None:
    with tarfile.open(tmp_path / "model.tar", "w") as out:
        for name, data in GOOD.items():
            info = tarfile.TarInfo(f"some-model/{name}")
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    folder = Store(tmp_path / "root").take("thing", tmp_path / "model.tar")
    assert kept(folder) == set(GOOD) | {".store.json"}


def test_a_cut_archive_is_refused(tmp_path) -> None:
    source = archive(tmp_path / "model.tar", entry("big.bin", bytes(100_000)))
    source.write_bytes(source.read_bytes()[:50_000])
    with pytest.raises(ModelError, match="archive"):
        Store(tmp_path / "root").take("thing", source)


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path) -> None:
    info = tarfile.TarInfo("pax")
    info.type = tarfile.XHDTYPE
    info.size = 3 << 30
    (tmp_path / "model.tar").write_bytes(info.tobuf() + bytes(10_240))
    with pytest.raises(ModelError, match="not a readable tar"):
        Store(tmp_path / "root").take("thing", tmp_path / "model.tar")


def test_an_archive_larger_than_the_disk_is_refused_before_writing(tmp_path) -> None:
    info = tarfile.TarInfo("huge.bin")
    info.size = 1 << 60
    blocks = io.BytesIO()
    with tarfile.open(fileobj=blocks, mode="w") as out:
        for name, data in GOOD.items():
            out.addfile(*entry(name, data)[:1], io.BytesIO(data))
    whole = blocks.getvalue().rstrip(b"\0")
    whole += bytes(-len(whole) % 512) + info.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "model.tar").write_bytes(whole)
    with pytest.raises(ModelError):
        Store(tmp_path / "root").take("thing", tmp_path / "model.tar")
    assert kept(tmp_path) == {"model.tar"}


def test_too_many_files_are_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(store_archive, "MAX_FILES", 2)
    with pytest.raises(ModelError, match="more than 2 files"):
        Store(tmp_path / "root").take("thing", archive(tmp_path / "model.tar"))


def test_a_full_disk_while_writing_is_one_sentence(tmp_path, monkeypatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(store_archive.shutil, "copyfileobj", full)
    with pytest.raises(ModelError, match="the disk is full"):
        Store(tmp_path / "root").take("thing", archive(tmp_path / "model.tar"))
    assert kept(tmp_path / "root") == set()


def folder(path: Path) -> Path:
    for name, data in GOOD.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_a_folder_with_a_link_out_of_it_is_refused(tmp_path) -> None:
    (tmp_path / "secret").write_text("s")
    source = folder(tmp_path / "model")
    (source / "vocab.json").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="links out of the folder"):
        Store(tmp_path / "root").take("thing", source)


def test_a_folder_with_a_pipe_is_refused_and_not_waited_for(tmp_path) -> None:
    source = folder(tmp_path / "model")
    os.mkfifo(source / "vocab.json")
    with pytest.raises(ModelError):
        Store(tmp_path / "root").take("thing", source)


def test_bytes_that_changed_on_the_way_are_found(tmp_path) -> None:
    first = Store(tmp_path / "a").take("thing", folder(tmp_path / "model"))
    (first / "config.json").write_bytes(b"[]")
    with pytest.raises(ModelError, match=r"config\.json: sha256"):
        Store(tmp_path / "b").take("thing", first)


@pytest.mark.parametrize("name", ["../x", "/x", "a/b/c", "x@../y", "", ".hidden", "x\n", "a b"])
def test_names_that_lead_elsewhere_are_no_names(tmp_path, name: str) -> None:
    with pytest.raises(ModelError):
        Store(tmp_path).remove(name)
    with pytest.raises(ModelError):
        Store(tmp_path).pull(name)


def test_bundled_models_cannot_be_removed_and_unknown_names_get_a_hint(tmp_path) -> None:
    with pytest.raises(ModelError, match="whisper-tiny"):
        Store(tmp_path).resolve("whisper-tinny")
    with pytest.raises(ModelError, match="models pull whisper-base"):
        Store(tmp_path).resolve("whisper-base")

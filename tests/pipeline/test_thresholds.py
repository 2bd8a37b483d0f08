"""The table of thresholds."""

from __future__ import annotations

import ast
from pathlib import Path

from asr_batch.pipeline import thresholds


def test_each_threshold_is_set_once() -> None:
    """A second one of the same name would silently replace the first for those who import it."""
    tree = ast.parse(Path(thresholds.__file__).read_text())
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]

    assert len(names) > 50
    assert sorted(names) == sorted(set(names))

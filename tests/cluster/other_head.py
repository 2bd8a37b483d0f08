"""`ray start` that reports other versions than it has: other_head.py RAY PYTHON words of `ray start`...

What drivers and nodes compare is what the head writes into its store when it starts.
"""

from __future__ import annotations

import sys

from ray._private import utils
from ray.scripts.scripts import cli

utils.compute_version_info = lambda: (sys.argv[1], sys.argv[2])
cli(["start", *sys.argv[3:]])

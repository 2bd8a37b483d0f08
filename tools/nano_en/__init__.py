"""The recipe of `nano.en`, the bundled demonstration model: a Whisper trained on synthetic speech alone.

text (sentences) → voices, corpus (speech and its log-mel) → windows, network, phases, train → export,
published → evaluate. `python -m nano_en --help` lists the steps; README.md has data, results and limits.
"""

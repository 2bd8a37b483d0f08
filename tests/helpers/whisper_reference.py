"""What `transformers` makes of the random models of `tiny_whisper`; needs torch and transformers.

`python tests/helpers/whisper_reference.py` writes `tests/data/whisper_reference.json`, which the tests
compare with where torch is not installed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tiny_whisper import Tiny, publish

from asr_batch.models.features import log_mel

SPECS = [
    Tiny(1, heads=2, encoder_layers=1, decoder_layers=1),
    Tiny(2, heads=3, encoder_layers=2, decoder_layers=2, n_mels=128),
    Tiny(3, heads=4, encoder_layers=3, decoder_layers=1, trained=5, window=5),
    Tiny(4, heads=6, encoder_layers=4, decoder_layers=4, trained=30, window=30),
    Tiny(5, heads=2, encoder_layers=1, decoder_layers=3, multilingual=True),
    Tiny(
        6, heads=5, encoder_layers=2, decoder_layers=2, multilingual=True, n_mels=128, trained=30, window=30
    ),
    Tiny(7, heads=3, encoder_layers=1, decoder_layers=2, trained=30, window=10),
    Tiny(8, heads=4, encoder_layers=2, decoder_layers=1, multilingual=True, trained=30, window=5),
    Tiny(9, heads=6, encoder_layers=1, decoder_layers=2, multilingual=True, trained=10, window=5, words=290),
]
STORE = Path(__file__).parent.parent / "data" / "whisper_reference.json"
CAP = 24


def audio(seed: int, seconds: float) -> np.ndarray:
    """Tones and noise, the same on every machine."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * 16000)) / 16000
    wave = sum(np.sin(2 * np.pi * f * t * (1 + 0.1 * np.sin(3 * t))) for f in rng.uniform(80, 3000, 6))
    return (0.05 * wave * (np.sin(2 * t) > -0.3) + 0.01 * rng.standard_normal(len(t))).astype(np.float32)


def clips(spec: Tiny) -> list[np.ndarray]:
    return [
        audio(100 * spec.seed + i, s)
        for i, s in enumerate((0.7, spec.window / 2, spec.window - 0.01, spec.window))
    ]


def reference(spec: Tiny) -> dict[str, Any]:
    """Greedy ids of every clip and the logits behind the prompt of the first one."""
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        state = publish(Path(folder), spec)
        config = WhisperConfig.from_pretrained(folder)
        model = WhisperForConditionalGeneration(config)
        tensors = {name: torch.from_numpy(value) for name, value in state.items()}
        model.load_state_dict(tensors | {"proj_out.weight": tensors["model.decoder.embed_tokens.weight"]})
        model.generation_config = GenerationConfig.from_pretrained(folder)
    model.eval()
    mels = torch.from_numpy(
        np.stack([log_mel(clip, spec.n_mels, spec.trained * 16000) for clip in clips(spec)])
    )
    extra = {"language": "de", "task": "transcribe"} if spec.multilingual else {}
    rows = []
    with torch.no_grad():
        for one in mels:
            out = model.generate(one[None], max_new_tokens=CAP, num_beams=1, do_sample=False, **extra)
            rows.append(strip(out[0].tolist(), model.generation_config))
        prompt = prompt_of(model.generation_config, spec)
        logits = model(mels[:1], decoder_input_ids=torch.tensor([prompt])).logits[0, -1]
    return {"tokens": rows, "prompt": prompt, "logits": [round(float(x), 5) for x in logits[::7]]}


def prompt_of(generation: Any, spec: Tiny) -> list[int]:
    ids = [generation.decoder_start_token_id]
    if spec.multilingual:
        ids += [generation.lang_to_id["<|de|>"], generation.task_to_id["transcribe"]]
    return [*ids, generation.no_timestamps_token_id]


def strip(ids: list[int], generation: Any) -> list[int]:
    """Generated ids alone: `generate` may give the prompt back, and ends with end-of-text."""
    if generation.no_timestamps_token_id in ids[:5]:
        ids = ids[ids.index(generation.no_timestamps_token_id) + 1 :]
    return ids[: ids.index(generation.eos_token_id)] if generation.eos_token_id in ids else ids


if __name__ == "__main__":
    STORE.parent.mkdir(exist_ok=True)
    STORE.write_text(json.dumps({str(spec.seed): reference(spec) for spec in SPECS}) + "\n")

"""The decoder heads whose cross-attention follows the audio, for OpenAI's published models.

The pairs (layer, head) are those of `_ALIGNMENT_HEADS` in
https://github.com/openai/whisper/blob/main/whisper/__init__.py; checkpoints do not contain them. large-v1
has the sizes of large-v2 and differs only in its file name.
"""

from __future__ import annotations

from collections.abc import Mapping

_BY_SIZE = {  # layers of the decoder, mel bands, vocabulary: layer.head
    (4, 80, 51864): "1.0 2.0 2.5 3.0 3.1 3.2 3.3 3.4",
    (4, 80, 51865): "2.2 3.0 3.2 3.3 3.4 3.5",
    (6, 80, 51864): "3.3 4.7 5.1 5.5 5.7",
    (6, 80, 51865): "3.1 4.2 4.3 4.7 5.1 5.2 5.4 5.6",
    (12, 80, 51864): (
        "6.6 7.0 7.3 7.8 8.2 8.5 8.7 9.0 9.4 9.8 9.10 10.0 10.1 10.2 10.3 10.6 10.11 11.2 11.4"
    ),
    (12, 80, 51865): "5.3 5.9 8.0 8.4 8.7 8.8 9.0 9.7 9.9 10.5",
    (24, 80, 51864): (
        "11.4 14.1 14.12 14.14 15.4 16.0 16.4 16.9 17.12 17.14 18.7 18.10 18.15 20.0 20.3 20.9 20.14 21.12"
    ),
    (24, 80, 51865): "13.15 15.4 15.15 16.1 20.0 23.4",
    (32, 80, 51865): (
        "10.12 13.17 16.11 16.12 16.13 17.15 17.16 18.4 18.11 18.19 19.11 21.2 21.3 22.3 22.9 22.12 23.5 "
        "23.7 23.13 25.5 26.1 26.12 27.15"
    ),
    (32, 128, 51866): "7.0 10.17 12.18 13.12 16.1 17.14 19.11 21.4 24.1 25.6",
    (4, 128, 51866): "2.4 2.11 3.3 3.6 3.11 3.14",
}
_LARGE_V1 = "9.19 11.2 11.4 11.17 22.7 22.11 22.17 23.2 23.15"
_HEADS = {(4, 80): 6, (6, 80): 8, (12, 80): 12, (24, 80): 16, (32, 80): 20, (32, 128): 20, (4, 128): 20}


def published_heads(dims: Mapping[str, int], stem: str) -> list[list[int]]:
    """[layer, head] pairs for a checkpoint's `dims`; none for unpublished sizes."""
    layers, bands = dims["n_text_layer"], dims["n_mels"]
    if dims["n_text_head"] != _HEADS.get((layers, bands)):
        return []
    told = _BY_SIZE.get((layers, bands, dims["n_vocab"]), "")
    if told and stem == "large-v1":
        told = _LARGE_V1
    return [[int(number) for number in pair.split(".")] for pair in told.split()]

"""Models in the Qwen3-ASR layout with random weights, and the speed of the engine on one of them."""

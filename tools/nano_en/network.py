"""The network and its vocabulary: Whisper's architecture and token layout at a fraction of the size."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import WhisperConfig, WhisperForConditionalGeneration

from nano_en.text import plain_words

TEXT_TOKENS = 2000
SPECIALS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
EOT, SOT, EN, TRANSLATE, TRANSCRIBE, LM, PREV, NO_SPEECH, NO_TIMESTAMPS = range(TEXT_TOKENS, TEXT_TOKENS + 9)
FIRST_TIME = TEXT_TOKENS + len(SPECIALS)
TIMES = 1501
CHARACTERS = "_ abcdefghijklmnopqrstuvwxyz'"
"""Classes of the auxiliary CTC loss; the first is its blank."""


def train_tokenizer(sentences: Iterable[str], path: Path, size: int = TEXT_TOKENS) -> Tokenizer:
    """Byte-level BPE of exactly `size` tokens. Raises ValueError if the text is too small for it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator((" " + sentence for sentence in sentences), trainer)
    if tokenizer.get_vocab_size() != size:
        raise ValueError(
            f"{tokenizer.get_vocab_size()} tokens came out, expected {size}: more text is needed"
        )
    tokenizer.save(str(path))
    return tokenizer


def config(tokenizer: Tokenizer, dropout: float = 0.0) -> WhisperConfig:
    """4 encoder and 2 decoder layers of width 192; 80 mel bins, 1500 and 448 positions as in Whisper."""
    return WhisperConfig(
        vocab_size=FIRST_TIME + TIMES,
        num_mel_bins=80,
        d_model=192,
        encoder_layers=4,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=768,
        decoder_ffn_dim=768,
        max_source_positions=1500,
        max_target_positions=448,
        dropout=dropout,
        pad_token_id=EOT,
        bos_token_id=EOT,
        eos_token_id=EOT,
        decoder_start_token_id=SOT,
        begin_suppress_tokens=[tokenizer.encode(" ").ids[0], EOT],
        suppress_tokens=[],
    )


class Network(nn.Module):
    """Whisper with an additional CTC output on the encoder, which speeds up early training."""

    def __init__(self, tokenizer: Tokenizer, dropout: float) -> None:
        super().__init__()
        self.whisper = WhisperForConditionalGeneration(config(tokenizer, dropout))
        self.ctc = nn.Linear(192, len(CHARACTERS))
        self.dropout = dropout
        positions = self.whisper.model.encoder.embed_positions.weight
        positions.requires_grad_(False)
        positions.copy_(sinusoids(1500, 192))

    def encode(self, mel: Tensor) -> Tensor:
        """mel [B, 80, frames] of any even length up to 3000 → hidden states [B, frames / 2, 192]."""
        encoder = self.whisper.model.encoder
        hidden = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(mel)))).permute(0, 2, 1)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        hidden = functional.dropout(hidden, self.dropout, self.training)
        for layer in encoder.layers:
            hidden = layer(hidden, None)
        made: Tensor = encoder.layer_norm(hidden)
        return made

    def decode(self, ids: Tensor, hidden: Tensor) -> Tensor:
        """ids [B, n] and hidden states → logits [B, n, vocabulary]."""
        out = self.whisper.model.decoder(input_ids=ids, encoder_hidden_states=hidden).last_hidden_state
        logits: Tensor = self.whisper.proj_out(out)
        return logits


def sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's fixed encoder positions [length, channels]."""
    scale = torch.exp(-math.log(10000) / (channels // 2 - 1) * torch.arange(channels // 2))
    angles = torch.arange(length)[:, None] * scale[None]
    return torch.cat([angles.sin(), angles.cos()], 1)


def ctc_classes(text: str) -> list[int]:
    """The classes of the characters of a text."""
    return [CHARACTERS.index(character) for character in plain_words(text) if character in CHARACTERS[1:]]


def save(network: Network, path: Path) -> None:
    """Save the weights (tensors only)."""
    torch.save(network.state_dict(), path)


def load(path: Path, tokenizer: Tokenizer, dropout: float = 0.0) -> Network:
    """Load the weights of `save`; only tensors are unpickled."""
    network = Network(tokenizer, dropout)
    state: dict[str, Any] = torch.load(path, weights_only=True)
    network.load_state_dict(state)
    return network

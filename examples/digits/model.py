"""The network of the digits pool: 64 pixels in, ten logits out, a few residual blocks between.

As a loader it is named ``python:examples/digits/model.py:load``.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from typing_extensions import override


class Block(nn.Module):
    """A residual block, ``x + relu(W x + b)``.

    Args:
        width: Number of hidden units.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    @override
    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Hidden units, shape ``(n, width)``, to hidden units."""
        return hidden + torch.relu(self.linear(hidden))


class DigitClassifier(nn.Module):
    """Classifies 8 x 8 images of handwritten digits.

    Args:
        n_inputs: Pixels per image.
        width: Hidden units per layer.
        n_blocks: Number of residual blocks.
        n_classes: Number of logits.
    """

    def __init__(self, n_inputs: int, width: int, n_blocks: int, n_classes: int) -> None:
        super().__init__()
        self.embed = nn.Linear(n_inputs, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(n_blocks))
        self.head = nn.Linear(width, n_classes)

    @override
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Pixels, shape ``(n, n_inputs)``, to logits, shape ``(n, n_classes)``."""
        hidden = torch.relu(self.embed(inputs))
        for block in self.blocks:
            hidden = block(hidden)
        logits: torch.Tensor = self.head(hidden)
        return logits


def load(folder: Path) -> nn.Module:
    """The model of a folder that holds ``config.json`` and ``model.safetensors``, in evaluation mode.

    Raises:
        RuntimeError: If a tensor is missing, unexpected or of another shape than the config says.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = DigitClassifier(config["n_inputs"], config["width"], config["n_blocks"], config["n_classes"])
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return model.eval()

"""The model whose parameters are views of the engine's output buffer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from searcher.recipe import Recipe


@dataclass
class LiveModel:
    """A model in memory that the engine rewrites for every candidate.

    Args:
        module: Its parameters are views of ``weights``; in evaluation mode, without gradients.
        weights: The output buffer, shape ``(P,)``, in the pool's storage dtype.
        tokenizer: The base's tokenizer, or None.
        recipe: The recipe that is in the buffer now, or None before the first build.
        save: Writes the present weights as a model folder.
    """

    module: torch.nn.Module
    weights: torch.Tensor
    tokenizer: Any = None  # transformers has no common public type for tokenizers
    recipe: Recipe | None = None
    save: Callable[[Path], Path] | None = None

    def path(self, folder: Path) -> Path:
        """Write the present weights as an ordinary model folder, for objectives that need files.

        Raises:
            RuntimeError: If the engine that made this model cannot write files.
        """
        if self.save is None:
            raise RuntimeError("This live model has no writer; build it with MergeEngine.")
        return self.save(folder)

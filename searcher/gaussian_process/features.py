"""What a kernel sees of a genome: its genes, and the means of genes that coarser searches of the space tie together.

Moving all coefficients of a model at once changes its merge more than moving one layer's. With a lengthscale of their
own the means say so in a few numbers, which a coarse search has already taught when a fine one begins; a kernel of the
genes alone has to learn the same from every gene's lengthscale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray


def averages(levels: Sequence[Sequence[int]], dim: int) -> NDArray[np.float64]:
    """Weights of the genes in the means, shape ``(dim, k)``.

    Args:
        levels: For each gene the number of the gene of that level which it follows, as in
            :class:`searcher.strategies.base.Problem`. Genes that stand alone get no mean.
        dim: Number of genes.
    """
    tied = [np.equal(level, gene) for level in map(np.asarray, levels) for gene in np.unique(level)]
    columns = [column / column.sum() for column in tied if column.sum() > 1]
    return np.array(columns, dtype=np.float64).reshape(-1, dim).T


def prior_dim(levels: Sequence[Sequence[int]], n_features: int) -> float:
    """For how many genes the lengthscales' prior is to be scaled.

    It expects every gene to matter as much as the next. Where levels tie genes, it is mostly those of the coarsest that
    do; the geometric mean of their number and of all lies between.
    """
    return math.sqrt(len(set(levels[0])) * n_features) if levels else n_features


def features(genomes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Genes and means of genomes ``(p, dim)``, for weights of shape ``(dim, k)``; shape ``(p, dim + k)``."""
    return torch.cat([genomes, genomes @ weights], dim=-1) if weights.shape[1] else genomes

"""Links: scales on which an objective may be more nearly quadratic than on its own.

Li et al. 2025 (MAP) fit the parameters of ``link(quadratic)`` by nonlinear least squares. Here the measured values are
put on the scale of the quadratic, with their weights (delta method), so that the fit stays linear and its
leave-one-out errors exact. All links rise, so that they change no order.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

Link: TypeAlias = Literal["none", "sigmoid", "softplus"]
"""``sigmoid``: fitness in [0, 1], such as an accuracy; ``softplus``: minus a loss, at most 0."""

LINKS: tuple[Link, ...] = ("none", "sigmoid", "softplus")
EDGE = 0.005  # an accuracy nearer to 0 or 1 counts as this near; logits have no end
LEAST_LOSS = 1e-6


def is_in_range(values: Floats, link: Link) -> bool:
    """Whether fitness can be on this scale."""
    if link == "sigmoid":
        return bool(((values >= 0) & (values <= 1)).all())
    return link == "none" or bool((values <= 0).all())


def latent(values: Floats, link: Link) -> Floats:
    """Fitness on the scale of the quadratic."""
    if link == "sigmoid":
        share = np.clip(values, EDGE, 1 - EDGE)
        return np.asarray(np.log(share) - np.log1p(-share))
    if link == "softplus":
        loss = np.maximum(-values, LEAST_LOSS)
        return np.asarray(-(loss + np.log(-np.expm1(-loss))))
    return values


def fitness_of(latents: Floats, link: Link) -> Floats:
    """Inverse of :func:`latent`."""
    if link == "sigmoid":
        return np.asarray(0.5 * (1 + np.tanh(latents / 2)))
    return np.asarray(-np.logaddexp(0.0, -latents)) if link == "softplus" else latents


def slope(latents: Floats, link: Link) -> Floats:
    """Change of the fitness per change on the scale of the quadratic, positive."""
    share = 0.5 * (1 + np.tanh(latents / 2))
    if link == "sigmoid":
        return np.asarray(np.maximum(share * (1 - share), EDGE * (1 - EDGE)))
    return np.asarray(np.maximum(1 - share, LEAST_LOSS)) if link == "softplus" else np.ones_like(latents)

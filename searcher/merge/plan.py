"""What an operator hands to the engine: one element-wise pass over a tensor, described by data.

An operator fills slots: what to do with each model's values (``keep``), how signs are elected (``vote``), how
the rest is averaged (``average``), and the numbers in between. Every backend executes the same slots with the same
arithmetic, so that results are equal bit for bit (one device, any build path):

* For element ``i`` in row ``r`` (rows split the flattened tensor evenly; one row is the whole tensor) ``v_k`` is
  the task vector ``float32(theta_k) - float32(theta_0)`` or the weight ``theta_k``.
* ``m_k = keep(v_k)``, zero where it is dropped; ``s_k = scales[r, k] * m_k``.
* ``total`` is the ``average`` of the ``s_k`` that agree with the elected sign.
* ``out = factor[r] * total + origin[r] * theta_0``.

Everything is float32; products and sums are rounded apart; models are added in order; the result is rounded once
to the storage type. Scales are planned in float64 and rounded to float32 when a backend takes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Bounds: TypeAlias = NDArray[np.uint32]
Vectors: TypeAlias = Literal["weights", "deltas"]
Vote: TypeAlias = Literal["none", "weighted", "unweighted"]
Average: TypeAlias = Literal["sum", "agreeing", "agreeing_signed", "agreeing_sum", "agreeing_count", "unique"]


@dataclass(frozen=True, eq=False)
class KeepAll:
    """Nothing is dropped."""


KEEP_ALL = KeepAll()
NO_WEIGHTS: Doubles = np.zeros(0)
ONE_ROW: Doubles = np.ones(1)


@dataclass(frozen=True, eq=False)
class KeepMagnitude:
    """Keep magnitudes between two cuts; arrays of shape (R, K').

    Kept if ``|v| > low``, or ``|v| == low`` and the tie hash is at most ``low_tie``; and if ``|v| < high``, or
    ``|v| == high`` and the tie hash is above ``high_tie``. ``high`` None means no upper cut, ``low_tie`` None
    that nothing at ``low`` stays.
    """

    low: Floats
    low_tie: Bounds | None = None
    high: Floats | None = None
    high_tie: Bounds | None = None


@dataclass(frozen=True, eq=False)
class KeepRandom:
    """Keep an element with the model's probability: its hash is below ``bounds``.

    Args:
        bounds: ``round(probability * 2^32)``, int64 in [0, 2^32], shape (K',).
        seed: Seed of the hash.
    """

    bounds: NDArray[np.int64]
    seed: int = 0


@dataclass(frozen=True, eq=False)
class KeepRanked:
    """Keep an element with a probability that grows with the rank of its magnitude in its row.

    The probability is ``low_k + rank / 65535 * (high_k - low_k)`` (float32), with the 16-bit rank of
    ``TensorFacts.ranks``; kept if ``hash / 2^32`` (float32, rounded down to 24 bits) is below it.

    Args:
        low: Probability of the smallest magnitude, shape (K',).
        high: Of the largest, shape (K',).
        ranks: One array per model, uint16, shape (n,).
        seed: Seed of the hash.
        rescale: Divide what is kept by its probability.
    """

    low: Floats
    high: Floats
    ranks: tuple[torch.Tensor, ...]
    seed: int = 0
    rescale: bool = True


@dataclass(frozen=True, eq=False)
class KeepImportance:
    """Keep where ``|v| * row_factor >= threshold``.

    Args:
        row_factor: Shape (R, K').
        threshold: Shape (K',).
    """

    row_factor: Floats
    threshold: Floats


@dataclass(frozen=True, eq=False)
class Clip:
    """Limit every value to ``[-limit_k, limit_k]``; shape (K',)."""

    limit: Floats


@dataclass(frozen=True, eq=False)
class KeepVariance:
    """Keep, in all models, elements whose population variance over the models passes a cut.

    With ``e_k = v_k - v_0``, so that equal values have none: ``mean = (e_0 + e_1 + ...) / K'`` and ``variance =
    (sum_k (e_k - mean)^2) / K'``, each operation rounded to float32, in order. Kept if it is above ``threshold``, or equal and the tie hash is at most ``tie`` (None: not).
    """

    threshold: float
    tie: int | None = None


@dataclass(frozen=True, eq=False)
class KeepMask:
    """Keep what a mask says: bool, shape (K', n). For conventions that no cut expresses."""

    mask: torch.Tensor


Keep: TypeAlias = KeepAll | KeepMagnitude | KeepRandom | KeepRanked | KeepImportance | Clip | KeepVariance | KeepMask


@dataclass(frozen=True, eq=False)
class TensorPlan:
    """One fused pass over a tensor.

    Args:
        vectors: What the models contribute.
        used: Indices of the models that take part, ascending; K' of them. With none the result is
            ``origin * theta_0``, or zero.
        scales: Shape (R, K').
        origin: Scale of the base, shape (R,); None leaves the base out.
        factor: Scale of the total, shape (R,).
        keep: What is dropped.
        vote: How a sign is elected: from ``sum_k s_k``, or from ``sum_k sign(scales_k) m_k``.
        average: What is made of the ``s_k``: their ``sum``; the sum of those that agree with the elected sign
            (zeros never do), divided by the sum of their ``|weights|`` (``agreeing``), of their ``weights``
            (``agreeing_signed``; a divisor 0 counts as 1), by their number (``agreeing_count``) or not
            (``agreeing_sum``); ``unique``: ``weights_k * s_k`` where only model k is active (``m_k != 0``), else
            the sum divided by the number of active models.
        weights: Shape (K',), see ``average``.
        zero_sign: Sign elected by a sum of zero, +1 or -1.
    """

    vectors: Vectors
    used: tuple[int, ...]
    scales: Doubles
    origin: Doubles | None
    factor: Doubles
    keep: Keep = field(default_factory=KeepAll)
    vote: Vote = "none"
    average: Average = "sum"
    weights: Doubles = field(default_factory=lambda: NO_WEIGHTS)
    zero_sign: float = 1.0

    @property
    def n_rows(self) -> int:
        """Number of rows R."""
        return int(self.scales.shape[0])


@dataclass(frozen=True, eq=False)
class WholeTensor:
    """A function of a whole tensor, for what no fused pass computes.

    Args:
        function: From the base (or None) and the models' weights, float32, in the tensor's shape, to the merged
            weights in that shape.
    """

    function: Callable[[torch.Tensor | None, list[torch.Tensor]], torch.Tensor]


def plan_of(
    vectors: Vectors,
    scales: NDArray[np.float64],
    *,
    origin: float | NDArray[np.float64] | None,
    factor: float | NDArray[np.float64] = 1.0,
    keep: Callable[[tuple[int, ...]], Keep] | None = None,
    vote: Vote = "none",
    average: Average = "sum",
    weights: NDArray[np.float64] | None = None,
    zero_sign: float = 1.0,
) -> TensorPlan:
    """A plan from float64 numbers; models whose scales are all zero take no part.

    Args:
        vectors: What the models contribute.
        scales: Shape (K,) or (R, K).
        origin: Scale of the base: a number, shape (R,), or None.
        factor: Scale of the total: a number or shape (R,).
        keep: From the indices of the models that take part to what is kept.
        vote: As :class:`TensorPlan`.
        average: As :class:`TensorPlan`.
        weights: Shape (K,).
        zero_sign: As :class:`TensorPlan`.
    """
    rows = scales.reshape(-1, scales.shape[-1])
    n = rows.shape[0]
    taking_part = (rows != 0.0).any(axis=0).tolist() if n > 1 else rows[0].tolist()
    used = tuple(k for k, c in enumerate(taking_part) if c)
    picked = slice(None) if len(used) == rows.shape[1] else list(used)
    return TensorPlan(
        vectors,
        used,
        rows[:, picked],
        None if origin is None else _per_row(origin, n),
        _per_row(factor, n),
        KEEP_ALL if keep is None else keep(used),
        vote,
        average,
        NO_WEIGHTS if weights is None else weights[picked],
        zero_sign,
    )


def _per_row(value: float | Doubles, n: int) -> Doubles:
    """A number for each row; plans are made in thousands, and the common ones are shared."""
    if isinstance(value, np.ndarray):
        return np.array(np.broadcast_to(value, (n,)), np.float64)
    return ONE_ROW if n == 1 and value == 1.0 else np.full(n, value, np.float64)

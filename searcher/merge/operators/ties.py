"""TIES: trim each task vector, elect a sign per entry, average those that agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, Choice, ExecutionClass, Operator, Setting, Sources
from searcher.merge.operators.magnitude import KEEP_ALL, MagnitudeCut, magnitude_cut, trimmed

if TYPE_CHECKING:
    from collections.abc import Hashable

    import torch


SMALLEST_NORMAL = 2.0**-126  # of float32


@OPERATORS.register("ties")
@dataclass(frozen=True)
class Ties(Operator):
    """``theta_0 + lambda * (disjoint average of c_k * trimmed tau_k)``.

    1. Trim: of each task vector, per tensor, the ``density * size`` entries of largest magnitude stay (nearest
       whole number, at least one; ties broken by a hash, so the number is exact).
    2. Elect: an entry's sign is that of ``sum_k c_k tau_k`` over the trimmed vectors (``vote: weighted``) or of
       the sum without coefficients (``unweighted``); a zero sum elects plus.
    3. Merge: the ``c_k tau_k`` of the elected sign are summed and, if ``normalize``, divided by the sum of the
       coefficients that agree.

    Published conventions differ. The defaults are mergekit's (per tensor, density 1, weighted vote, lambda 1,
    normalised), with these differences: the number kept is rounded and not truncated, density 0 keeps one entry
    per tensor and not none, and a negative coefficient is read as a positive one of the negated task vector, so
    that the divisor is a sum of ``|c_k|`` and cannot vanish. A coefficient of 0 leaves its model out, also of
    the vote. The paper trims the whole model at once to 20 %, votes unweighted and gives zero sums the majority
    sign of the model; with equal coefficients the weighted and the unweighted vote agree.
    """

    execution_class: ClassVar[ExecutionClass] = "E1"
    needs_base: ClassVar[bool] = True
    reference: ClassVar[str] = "Yadav et al. 2023, TIES-Merging, arXiv:2306.01708; mergekit ties"

    density: Annotated[
        float | tuple[float, ...],
        Setting(0.05, 1.0, "fraction of each task vector that is kept", minimum=0.0, per_model=True),
    ] = 1.0
    lambda_: Annotated[float, Setting(0.3, 2.5, "scale of the merged task vector", minimum=-10.0, maximum=10.0)] = 1.0
    vote: Annotated[Literal["weighted", "unweighted"], Choice("whether coefficients weigh the sign vote")] = "weighted"
    normalize: Annotated[bool, Choice("divide by the sum of the agreeing coefficients")] = True

    @override
    def prepare(self, coefficients: tuple[float, ...], sources: Sources) -> tuple[MagnitudeCut, ...]:
        """One cut per model."""
        n = len(sources.stored)
        densities = self.density if isinstance(self.density, tuple) else (self.density,) * n
        if len(densities) != n:
            raise ValueError(f"Expected one density per model, {n} of them, but got {len(densities)}.")
        return tuple(
            KEEP_ALL if density >= 1.0 else magnitude_cut(sources.task_vector(k), density, sources.tensor)
            for k, density in enumerate(densities)
        )

    @override
    def prepare_key(self, coefficients: tuple[float, ...]) -> Hashable:
        return ()

    @override
    def merge(self, coefficients: tuple[float, ...], sources: Sources, prepared: Any) -> torch.Tensor:
        assert sources.base is not None  # needs_base
        used = [k for k, coefficient in enumerate(coefficients) if coefficient != 0.0]
        if not used:
            return sources.base
        vectors = _trimmed(sources, used, prepared)  # (len(used), n)
        scales = vectors.new_tensor([coefficients[k] for k in used]).unsqueeze(1)
        scaled = vectors * scales
        sign = _elected_sign(scaled if self.vote == "weighted" else vectors * scales.sign())
        agreeing = scaled.mul_(sign).clamp_min_(0.0)
        merged = _sum_of_rows(agreeing)
        if self.normalize:
            weight = _sum_of_rows(agreeing.sign_().mul_(scales.abs()))
            merged.div_(weight.clamp_min_(SMALLEST_NORMAL))  # where nothing agrees this is 0 / tiny
        if self.lambda_ != 1.0:
            merged.mul_(self.lambda_)
        return merged.mul_(sign).add_(sources.base)


def _trimmed(sources: Sources, used: list[int], cuts: tuple[MagnitudeCut, ...]) -> torch.Tensor:
    """Trimmed task vectors of the models used, shape ``(len(used), n)``."""
    import torch

    return torch.stack([trimmed(sources.task_vector(k), cuts[k], sources.start, sources.tensor) for k in used])


def _elected_sign(votes: torch.Tensor) -> torch.Tensor:
    """1.0 where the votes, shape ``(k, n)``, sum to zero or more, else -1.0; shape ``(n,)``.

    A sum of opposite numbers is +0; it is -0 only where no vote differs from zero and nothing is merged.
    """
    total = _sum_of_rows(votes)
    return total.new_ones(()).copysign(total)


def _sum_of_rows(rows: torch.Tensor) -> torch.Tensor:
    """Sum over the first axis in order; ``sum(0)`` may group differently in a vectorised loop and its tail."""
    first, *others = rows.unbind(0)
    if not others:
        return first.clone()
    total = first + others[0]
    for row in others[1:]:
        total.add_(row)
    return total

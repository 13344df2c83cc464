"""SCE: select entries in which models differ, weigh models by their energy there, erase minority signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.merge.operators.base import OPERATORS, ExecutionClass, Operator, Setting
from searcher.merge.operators.delta_settings import ElectedAverageScale, WhoseDefinition
from searcher.merge.operators.subset import among, taking_part
from searcher.merge.plan import Keep, KeepAll, KeepVariance, TensorPlan, WholeTensor

if TYPE_CHECKING:
    import torch

    from searcher.merge.facts import TensorFacts

SMALLEST_ENERGY = 1e-6  # mergekit's; with less, summed over the models, its weights are uniform
SMALLEST_DIVISOR = 1e-6  # mergekit's


@OPERATORS.register("sce")
@dataclass(frozen=True)
class Sce(Operator):
    """``theta_0 + lambda * (average of tau_k of the elected sign, weighted by c_k * energy_k ^ exponent)``.

    1. Select: per tensor, the ``select_topk`` largest variances over the models stay, of those that are not zero.
       With less than 1, entries on which all models agree go, so that equal models give the base.
    2. Calculate: a model's energy is the mean square of its task vector over what was selected.
    3. Erase: an entry's sign is that of the unweighted sum, plus for zero; what has another sign goes.

    Only ratios of the coefficients count; equal ones are the published operator. 0 leaves a model out, also of the
    variance, and a negative coefficient negates the task vector in steps 2 and 3. Exponent 0 weighs all models alike.

    ``convention: mergekit`` makes all weights equal where the energies sum to less than 1e-6, which is so in
    most fine-tunes of language models (two task vectors of RMS 2e-4 and 6e-4 weigh 0.5 and 0.5, not 0.1 and 0.9),
    and divides by at least 1e-6. It reads whole tensors.
    """

    execution_class: ClassVar[ExecutionClass] = "E1"
    needs_base: ClassVar[bool] = True
    reference: ClassVar[str] = "Wan et al. 2024, FuseChat, arXiv:2408.07990; mergekit sce"

    select_topk: Annotated[
        float, Setting(0.05, 1.0, "fraction of the entries that differ among models which is kept", minimum=0.0)
    ] = 1.0
    exponent: Annotated[float, Setting(0.0, 2.0, "power of the energy in a model's weight", maximum=10.0)] = 1.0
    lambda_: ElectedAverageScale = 1.0
    convention: WhoseDefinition = "paper"

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan | WholeTensor:
        used = taking_part(coefficients)
        c = np.array([coefficients[k] for k in used])
        if self.convention == "mergekit":
            return WholeTensor(lambda base, models: self._as_mergekit(c, _checked(base), [models[k] for k in used]))
        keep, energies = self._selected(among(facts, used)) if used else (KeepAll(), c)
        weights = _shares(c, energies, self.exponent)
        one, factor = np.ones(1), np.array([self.lambda_])
        # not by plan_of, which leaves models without weight out of the variance
        return TensorPlan("deltas", used, weights[None], one, factor, keep, "unweighted", "agreeing", weights)

    def _selected(self, facts: TensorFacts) -> tuple[Keep, NDArray[np.float64]]:
        """What stays, and the models' energies there up to a common factor, shape (K',)."""
        if self.select_topk >= 1.0:
            return KeepAll(), np.diagonal(facts.gram("deltas")[0]).copy()
        cut = facts.variance_cut(self.select_topk)
        return KeepVariance(cut.threshold, cut.tie), np.asarray(cut.energies, np.float64)

    def _as_mergekit(self, c: NDArray[np.float64], base: torch.Tensor, models: list[torch.Tensor]) -> torch.Tensor:
        import torch

        if not models or not base.numel():
            return base
        signs = np.sign(c).tolist()
        vectors = torch.stack([sign * (model - base) for sign, model in zip(signs, models, strict=True)])
        if self.select_topk < 1.0:
            vectors = vectors * _most_varied(vectors, self.select_topk)
        energies = vectors.square().view(len(c), -1).mean(dim=1).double().cpu().numpy()
        if energies.sum() < SMALLEST_ENERGY:
            energies = np.ones_like(energies)
        weights = torch.as_tensor(_shares(np.abs(c), energies, self.exponent), dtype=torch.float32, device=base.device)
        elected = torch.where(vectors.sum(dim=0) >= 0.0, 1.0, -1.0)
        agreeing = (vectors.sign() == elected) * weights.view(-1, *[1] * base.dim())
        return base + self.lambda_ * (vectors * agreeing).sum(dim=0) / agreeing.sum(dim=0).clamp(min=SMALLEST_DIVISOR)


def _shares(coefficients: NDArray[np.float64], energies: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """``c_k e_k ^ exponent`` over the sum of magnitudes; without any energy ``c_k`` over theirs. Shape (K',)."""
    largest = energies.max(initial=0.0)
    relative = energies / largest if largest > 0.0 else np.ones_like(energies)
    weights: NDArray[np.float64] = coefficients * relative**exponent
    return weights / float(np.abs(weights).sum())


def _most_varied(vectors: torch.Tensor, fraction: float) -> torch.Tensor:
    """1 for a fraction of the entries whose variance over the models is not zero, the largest, else 0."""
    import torch

    variance = torch.var(vectors, dim=0, unbiased=False)
    mask = torch.zeros_like(variance)
    n = int(int(variance.count_nonzero()) * fraction)
    mask.view(-1)[variance.view(-1).topk(n).indices] = 1.0
    return mask


def _checked(base: torch.Tensor | None) -> torch.Tensor:
    assert base is not None  # the operator needs a base
    return base

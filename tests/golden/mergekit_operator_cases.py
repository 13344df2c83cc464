"""What ``make_mergekit_operators_golden.py`` merges: pools of small tensors, and cases in this project's words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

SHAPES = {
    "block.weight": (17, 24),
    "block.bias": (33,),
    "conv.weight": (3, 5, 7),
    "scale": (1,),
    "wide.weight": (3, 300),
}
MODELS = ("a", "b", "c", "d")
Weights: TypeAlias = dict[str, torch.Tensor]
Draw: TypeAlias = Callable[[np.random.Generator, tuple[int, ...], int], NDArray[np.float64]]


@dataclass(frozen=True)
class PoolKind:
    """How a pool is drawn.

    Args:
        seed: Of the pool; chosen so that no mask of DELLA hangs on the order of equal magnitudes and no angle of rows of
            three on rounding.
        base: Standard deviation of the base.
        delta: Draws the task vector of model k, given a generator, a shape and k.
        dtype: Type in which the weights are stored.
        degenerate: Whether tensors are zero, unchanged or equal in some of the models.
    """

    seed: int
    base: float
    delta: Draw
    dtype: torch.dtype = torch.float32
    degenerate: bool = False

    def draw(self) -> dict[str, Weights]:
        """The base and the models."""
        rng = np.random.default_rng(self.seed)
        base = {name: self.base * rng.standard_normal(shape) for name, shape in SHAPES.items()}
        states = {"base": base}
        for k, model in enumerate(MODELS):
            states[model] = {name: base[name] + self.delta(rng, shape, k) for name, shape in SHAPES.items()}
        stored = {m: {n: torch.from_numpy(t).to(self.dtype) for n, t in state.items()} for m, state in states.items()}
        if self.degenerate:
            _degenerate(**stored)
        return stored | {"minus_2a": {name: -2 * tensor for name, tensor in stored["a"].items()}}


def _degenerate(base: Weights, a: Weights, b: Weights, c: Weights, d: Weights) -> None:
    """What happens in fine-tunes: zero biases, frozen tensors, sparse changes, the same model twice."""
    base["block.bias"].zero_()
    base["scale"].zero_()
    a["scale"].zero_()
    for state in (a, b):
        state["conv.weight"].copy_(base["conv.weight"])
    a["block.weight"].copy_(base["block.weight"])
    a["wide.weight"][:, ::2] = base["wide.weight"][:, ::2]
    a["wide.weight"][0] = base["wide.weight"][0]
    b["wide.weight"].copy_(a["wide.weight"])


def _heavy(rng: np.random.Generator, shape: tuple[int, ...], k: int) -> NDArray[np.float64]:
    """Student t with two degrees of freedom; one entry in a hundred is fifty times larger."""
    return 5e-4 * rng.standard_t(2, shape) * np.where(rng.random(shape) < 0.01, 50.0, 1.0)


POOLS = {
    "random": PoolKind(2, 0.02, lambda rng, shape, k: 2e-3 * rng.standard_normal(shape)),
    "heavy_tailed": PoolKind(8, 0.02, _heavy),
    # siblings: 1e-3, 5e-4, 1e-4 and 2e-4 of the base
    "siblings": PoolKind(3, 0.02, lambda rng, shape, k: (2e-5, 1e-5, 2e-6, 4e-6)[k] * rng.standard_normal(shape)),
    # one bf16 step at 0.02 is 1.2e-4: many task vector entries are zero or equal
    "bfloat16": PoolKind(4, 0.02, lambda rng, shape, k: 2e-4 * rng.standard_normal(shape), torch.bfloat16),
    "far": PoolKind(23, 0.5, lambda rng, shape, k: 0.5 * rng.standard_normal(shape)),
    # far apart, for what float32 cancellation drowns in the others: the divergence of arcee_fusion
    "far_heavy_tailed": PoolKind(24, 0.5, lambda rng, shape, k: 0.3 * rng.standard_t(3, shape)),
    "far_bfloat16": PoolKind(25, 0.5, lambda rng, shape, k: 0.5 * rng.standard_normal(shape), torch.bfloat16),
    "degenerate": PoolKind(6, 0.02, lambda rng, shape, k: 2e-3 * rng.standard_normal(shape), degenerate=True),
}
FOUR = ("random", "heavy_tailed", "siblings", "bfloat16")
FIVE = (*FOUR, "degenerate")


@dataclass(frozen=True)
class Case:
    """One merge in several pools.

    Args:
        method: Operator here and merge method there.
        label: Unique within the method.
        coefficients: One per model.
        settings: Operator settings here.
        base: Whether the base takes part.
        pools: Names of the pools.
        models: The first ones by default.
    """

    method: str
    label: str
    coefficients: tuple[float, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    base: bool = True
    pools: Sequence[str] = FIVE
    models: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models."""
        return self.models or MODELS[: len(self.coefficients)]

    def on(self, *pools: str) -> Case:
        """The same in other pools."""
        return Case(self.method, self.label, self.coefficients, self.settings, self.base, pools, self.models)


ONES, MIXED, SIGNED = (1.0, 1.0, 1.0), (0.2, 0.5, 0.9), (0.9, -0.6, 0.5)
DYADIC = (0.5, -0.5, 0.25)  # the divisor is exactly zero where a and b agree
TWO = ("random", "siblings")
OFF, ON = False, True


def _linear() -> list[Case]:
    return [
        Case("linear", "normalized", MIXED, {"normalize": ON}, OFF),
        Case("linear", "negative", (1.4, -0.3, 0.2), {"normalize": ON}, OFF),
        Case("linear", "plain", (0.1, 0.2, 0.3, -0.4), {"normalize": OFF}, OFF),
        Case("linear", "one_model", (0.7,), {"normalize": OFF}, OFF).on("random"),
        Case("task_arithmetic", "plain", (0.3, 0.4, 0.5), {"normalize": OFF, "lambda": 1.0}),
        Case("task_arithmetic", "negative", (0.8, -0.5, 0.1), {"normalize": OFF, "lambda": 0.7}),
        Case("task_arithmetic", "normalized", (1.0, 1.0, 2.0, 0.5), {"normalize": ON, "lambda": 1.3}),
        Case("task_arithmetic", "zero_sum", (0.5, -0.25, -0.25), {"normalize": ON, "lambda": 1.0}).on(*TWO),
        *(Case("passthrough", f"scale_{s:g}", (s,), {}, OFF).on("random", "heavy_tailed", "bfloat16") for s in (1, 0.5, -1.5)),
    ]  # fmt: skip


def _spherical() -> list[Case]:
    rows: dict[str, dict[str, Any]] = {
        "flat": {"flatten": ON, "row_wise": OFF},
        "last_axis": {"flatten": OFF, "row_wise": OFF},
        "first_axis": {"flatten": OFF, "row_wise": ON},
    }
    return [
        Case("slerp", "from_base", (0.3,)).on(*FIVE, "far"),
        Case("slerp", "two_models", (0.3, 0.7), {}, OFF).on(*FIVE, "far"),
        *(Case("slerp", f"t_{t:g}", (t,)).on("random", "far") for t in (0.0, 1.0, 1.5, -0.25)),
        *(Case("nuslerp", f"deltas_{name}", (0.3, 0.9), s).on(*FIVE, "far") for name, s in rows.items()),
        *(Case("nuslerp", f"weights_{name}", (0.8, 0.2), s, OFF).on("random", "siblings", "far") for name, s in rows.items()),
        Case("nuslerp", "zero_sum", (0.5, -0.5), {}, OFF).on(*TWO),
        Case("nuslerp", "outside", (1.2, -0.2), {}).on(*FOUR),
        Case("multislerp", "weights", MIXED, {}, OFF).on(*FIVE, "far"),
        Case("multislerp", "deltas", MIXED).on(*FIVE, "far"),
        Case("multislerp", "not_normalized", (0.2, 0.5, 0.9, 0.3), {"normalize_weights": OFF}).on("random", "far"),
        Case("multislerp", "negative", SIGNED).on("random", "heavy_tailed", "far"),
        Case("multislerp", "eps", MIXED, {"eps": 1e-3}).on("random", "siblings", "bfloat16"),
        Case("multislerp", "opposite", (0.5, 0.5), {"eps": 0.3}, OFF, ("random", "far"), ("a", "minus_2a")),
        Case("multislerp", "one_model", (0.5,)).on("random"),
        *(Case("karcher", f"{n}_models", (1.0,) * n, {}, OFF).on(*FIVE, "far") for n in (2, 3, 4)),
        Case("karcher", "one_step", ONES, {"max_iter": 1, "tol": 1e-3}, OFF).on("random", "siblings", "far"),
        *(Case("nearswap", f"t_{t:g}", (1.0,), {"t": t}).on("random", "heavy_tailed", "bfloat16") for t in (1e-3, 1e-4)),
        *(Case("nearswap", f"t_{t:g}", (1.0,), {"t": t}).on("siblings") for t in (1e-5, 5e-7)),
    ]  # fmt: skip


def _trimmed(method: str) -> list[Case]:
    def case(label: str, coefficients: tuple[float, ...], density: Any, *, lambda_: float = 1.0, **other: Any) -> Case:
        return Case(method, label, coefficients, {"density": density, "lambda": lambda_, **other})

    every = (0.29, 0.57, 0.9)
    if method == "ties":
        plain: dict[str, Any] = {"normalize": OFF, "rescale": OFF}
        return [
            case("untrimmed", ONES, 1.0, normalize=ON, rescale=OFF),
            case("half", (0.9, 0.1, 0.5), 0.5, normalize=ON, rescale=OFF),
            case("tenth", (1.0, 0.4, 0.7, 0.2), 0.1, lambda_=1.7, normalize=ON, rescale=OFF),
            case("per_model", (0.4, 0.7, 0.5), every, lambda_=0.6, **plain),
            case("signed", SIGNED, 0.5, normalize=ON, rescale=OFF),
            case("zero_divisor", DYADIC, 0.9, normalize=ON, rescale=OFF),
            case("rescaled", SIGNED, 0.1, normalize=OFF, rescale=ON),
            case("nothing_kept", (1.0, 0.5), (0.0, 0.5), normalize=ON, rescale=OFF).on("random", "bfloat16"),
        ]
    della = method.startswith("della")
    usual, narrow, wide = ({"epsilon": e} if della else {} for e in (0.15, 0.05, 0.09))
    every_epsilon: dict[str, Any] = {"epsilon": (0.0, 0.15, 0.1)} if della else {}
    cases = [
        case("half", (0.9, 0.1, 0.5), 0.5, normalize=ON, rescale=ON, **usual),
        case("tenth", ONES, 0.1, lambda_=0.7, normalize=OFF, rescale=OFF, **narrow),
        case("most", SIGNED, 0.9, lambda_=1.3, normalize=OFF, rescale=ON, **wide),
        case("per_model", (0.4, 0.7, 0.5), (1.0, 0.5, 0.2), normalize=ON, rescale=OFF, **every_epsilon),
    ]
    if not della:
        gone = case("nothing_kept", (1.0, 0.5), (0.0, 0.5), normalize=ON, rescale=ON)
        return [*cases, case("zero_sum", (0.5, -0.25, -0.25), 0.5, normalize=ON, rescale=ON).on(*TWO), gone.on(*TWO)]
    return [  # ranks of equal magnitudes are arbitrary: without an epsilon they do not matter
        *(one.on("random", "heavy_tailed", "siblings", "degenerate") for one in cases),
        case("zero_sum", (0.5, -0.25, -0.25), 0.5, normalize=ON, rescale=ON, **usual).on("random", "heavy_tailed"),
        case("flat_half", (0.9, 0.1, 0.5), 0.5, normalize=ON, rescale=ON, epsilon=0.0).on("random", "bfloat16"),
        case("flat_most", SIGNED, 0.9, lambda_=1.3, normalize=OFF, rescale=ON, epsilon=0.0).on("bfloat16"),
    ]


def _outliers(method: str) -> list[Case]:
    def case(label: str, coefficients: tuple[float, ...], density: float, gamma: float, **other: Any) -> Case:
        settings = {"lambda": 1.0, "normalize": OFF, "rescale": OFF} | other
        return Case(method, label, coefficients, {"density": density, "gamma": gamma, **settings})

    return [
        case("default", (0.5, 0.3, 0.8), 0.9, 0.01),
        case("no_outliers", SIGNED, 0.5, 0.0, **{"lambda": 0.7}),
        case("few", (1.0, 0.5, 0.25), 0.1, 0.1, normalize=ON, rescale=ON),
        case("overlapping", (0.5, 0.3, 0.8), 0.95, 0.1).on("random", "heavy_tailed", "siblings"),
        case("untrimmed", (0.5, 0.3, 0.8), 1.0, 0.1).on("random"),
    ]


def _without_coefficients() -> list[Case]:
    fours = (1.0,) * 4
    return [
        *(Case("sce", f"topk_{k:g}", ONES, {"select_topk": k}).on(*FIVE, "far") for k in (0.1, 0.5, 1.0)),
        Case("sce", "two_models", (1.0, 1.0), {"select_topk": 0.5}).on("random", "heavy_tailed"),
        *(Case("model_stock", f"rows_{on}".lower(), ONES, {"filter_wise": on}) for on in (OFF, ON)),
        *(Case("model_stock", f"two_rows_{on}".lower(), ONES[:2], {"filter_wise": on}).on("random", "siblings") for on in (OFF, ON)),
        Case("model_stock", "four_models", fours, {"filter_wise": OFF}),
        Case("ram", "default", ONES, {}),
        Case("ram", "coarse", fours, {"epsilon": 1e-3}).on("random", "heavy_tailed", "bfloat16"),
        Case("ram", "on_a_value", ONES, {"epsilon": 2.0**-12}).on("bfloat16"),
        Case("ram", "zero", ONES, {"epsilon": 0.0}).on("siblings", "bfloat16"),
        Case("ramplus_tl", "default", ONES, {}),
        Case("ramplus_tl", "coarse", fours, {"epsilon": 1e-3, "r": 0.5, "alpha": 0.5}).on("random", "heavy_tailed", "bfloat16"),
        Case("ramplus_tl", "unlimited", ONES, {"epsilon": 2e-3, "r": 0.1, "alpha": 10.0}).on("random", "heavy_tailed"),
        Case("ramplus_tl", "fine", ONES, {"epsilon": 1e-6, "r": 1.0, "alpha": 3.0}).on("siblings"),
        Case("arcee_fusion", "default", (1.0,)).on(*FIVE, "far", "far_heavy_tailed", "far_bfloat16"),
    ]  # fmt: skip


RANDOM = ("dare_linear", "dare_ties", "della", "della_linear")
CASES = (
    *_linear(),
    *_spherical(),
    *(case for method in ("ties", *RANDOM) for case in _trimmed(method)),
    *(case for method in ("breadcrumbs", "breadcrumbs_ties") for case in _outliers(method)),
    *_without_coefficients(),
)

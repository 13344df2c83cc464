"""Writes the golden merges: small random tensors merged by mergekit itself.

Run it only where mergekit 0.1.5 is installed; tests read its outputs and never import it:

    python -m venv golden-venv
    golden-venv/bin/pip install mergekit==0.1.5
    golden-venv/bin/python tests/golden/make_mergekit_golden.py
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from mergekit.merge_methods.api import merge_state_dicts  # type: ignore[import-not-found]
from safetensors.torch import save_file

FOLDER = Path(__file__).parent
SHAPES = {"block.weight": (24, 16), "block.bias": (40,), "norm.weight": (4,), "scale": (1,)}
SEED = 20240607


@dataclass(frozen=True)
class Case:
    """One merge, in this project's words and in mergekit's.

    Args:
        name: Key of the outputs.
        operator: Operator here and method there.
        models: Models that carry coefficients.
        coefficients: One per model.
        base: Base model, or None.
        settings: Operator settings here.
        theirs: Parameters of mergekit's method.
        order: Inputs of mergekit's method, its base first; None takes base and models.
    """

    name: str
    operator: str
    models: tuple[str, ...]
    coefficients: tuple[float, ...]
    base: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    theirs: dict[str, Any] = field(default_factory=dict)
    order: tuple[str, ...] | None = None


ABC = ("a", "b", "c")


def linear(name: str, coefficients: tuple[float, ...], *, normalize: bool) -> Case:
    """Whole weights, no base."""
    theirs = {"weight": dict(zip(ABC, coefficients, strict=True)), "normalize": normalize}
    return Case(f"linear_{name}", "linear", ABC, coefficients, None, {"normalize": normalize}, theirs)


def arithmetic(name: str, coefficients: tuple[float, ...], scale: float, *, normalize: bool) -> Case:
    """Task vectors added to the base."""
    settings = {"lambda": scale, "normalize": normalize}
    theirs = settings | {"weight": dict(zip(ABC, coefficients, strict=True))}
    return Case(f"task_arithmetic_{name}", "task_arithmetic", ABC, coefficients, "base", settings, theirs)


def slerp(name: str, first: str, second: str, t: float) -> Case:
    """From the base to a model with one coefficient, between two models with two."""
    if first == "base":
        return Case(f"slerp_{name}", "slerp", (second,), (t,), "base", {}, {"t": t})
    return Case(f"slerp_{name}", "slerp", (first, second), (1 - t, t), None, {}, {"t": t}, (first, second))


def ties(
    name: str,
    coefficients: tuple[float, ...],
    density: float | tuple[float, ...],
    scale: float = 1.0,
    *,
    normalize: bool = True,
    vote: str = "weighted",
) -> Case:
    """Trim, elect, average; mergekit's vote is always weighted."""
    settings = {"density": density, "lambda": scale, "normalize": normalize, "vote": vote}
    densities = density if isinstance(density, tuple) else (density,) * 3
    theirs = {
        "weight": dict(zip(ABC, coefficients, strict=True)),
        "density": dict(zip(ABC, densities, strict=True)),
        "lambda": scale,
        "normalize": normalize,
        "rescale": False,
    }
    return Case(f"ties_{name}", "ties", ABC, coefficients, "base", settings, theirs)


CASES = (
    linear("uniform", (1.0, 1.0, 1.0), normalize=True),
    linear("unequal", (0.2, 0.5, 0.9), normalize=True),
    linear("negative", (1.4, -0.3, 0.2), normalize=True),
    linear("not_normalized", (0.2, 0.5, 0.9), normalize=False),
    arithmetic("default", (0.3, 0.4, 0.5), 1.0, normalize=False),
    arithmetic("negative", (0.8, -0.5, 0.1), 1.0, normalize=False),
    arithmetic("lambda", (0.3, 0.4, 0.5), 0.4, normalize=False),
    arithmetic("normalized", (0.3, 0.4, 0.5), 1.2, normalize=True),
    slerp("start", "base", "a", 0.0),
    slerp("quarter", "base", "a", 0.25),
    slerp("end", "base", "a", 1.0),
    slerp("two_models", "a", "b", 0.7),
    slerp("nearly_parallel", "base", "near", 0.5),
    slerp("antiparallel", "base", "opposite", 0.3),
    ties("default", (1.0, 1.0, 1.0), 1.0),
    ties("half", (1.0, 1.0, 1.0), 0.5),
    ties("unequal", (0.9, 0.1, 0.5), 0.25),
    ties("per_model", (0.4, 0.7, 0.5), (0.25, 0.5, 0.75)),
    ties("lambda", (0.4, 0.7, 0.5), 0.5, 1.7),
    ties("not_normalized", (0.4, 0.7, 0.5), 0.5, normalize=False),
    ties("negative", (0.9, -0.6, 0.5), 0.5, normalize=False),
    ties("unweighted", (0.5, 0.5, 0.5), 0.5, vote="unweighted"),
)


def make_sources() -> dict[str, dict[str, torch.Tensor]]:
    """Base, three fine-tunes far from it, one near it and its opposite."""
    generator = torch.Generator().manual_seed(SEED)

    def draw(scale: float) -> dict[str, torch.Tensor]:
        return {name: torch.randn(shape, generator=generator) * scale for name, shape in SHAPES.items()}

    def moved(scale: float) -> dict[str, torch.Tensor]:
        return {name: base[name] + delta for name, delta in draw(scale).items()}

    base = draw(0.02)
    sources = {"base": base, "a": moved(0.01), "b": moved(0.02), "c": moved(0.005), "near": moved(1e-5)}
    return sources | {"opposite": {name: -tensor for name, tensor in moved(1e-5).items()}}


def merge(case: Case, sources: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Outputs of mergekit for one case, by tensor name."""
    names = case.order or (*(() if case.base is None else (case.base,)), *case.models)
    base = names[0] if case.order or case.base else None
    merged: dict[str, torch.Tensor] = merge_state_dicts(
        {name: sources[name] for name in names}, case.operator, parameters=case.theirs, base=base
    )
    return merged


def main() -> None:
    """Write mergekit_0_1_5.safetensors and mergekit_0_1_5.json next to this file."""
    found = {package: version(package) for package in ("mergekit", "torch")}
    if found["mergekit"] != "0.1.5":
        raise SystemExit(f"Expected mergekit 0.1.5, but {found['mergekit']} is installed.")
    sources = make_sources()
    tensors = {f"source/{model}/{name}": t for model, state in sources.items() for name, t in state.items()}
    for case in CASES:
        tensors |= {f"output/{case.name}/{name}": t.contiguous() for name, t in merge(case, sources).items()}
    save_file(tensors, FOLDER / "mergekit_0_1_5.safetensors")
    record = {"versions": found, "seed": SEED, "tensors": list(SHAPES), "cases": [asdict(case) for case in CASES]}
    (FOLDER / "mergekit_0_1_5.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Writes golden merges of every merge method of mergekit 0.1.5, made by mergekit itself.

Run it only where mergekit 0.1.5 is installed; tests read its outputs and never import it:

    golden-venv/bin/python tests/golden/make_mergekit_operators_golden.py

mergekit is run in float32. Two of its choices are arbitrary and are taken out of the comparison:

* Random masks: ``torch.bernoulli`` is replaced by "counter hash of the element < p", so the masks are those of
  this project and everything else is mergekit's.
* Equal magnitudes at a cut (mergekit sorts unstably): densities are moved to the nearest count that separates
  unequal ones. Moved settings are stored in ``by_tensor``; all others are merged as asked, also where
  ``density * size`` is not whole. Where ranks are tied, the masks of DELLA must not hang on the order of equals,
  else nothing is written.

Each merge is repeated in float64. ``float32_error`` holds how far mergekit's float32 result is from that, relative
to the largest entry, where it is above 1e-6: there the outcome hangs on rounding, and both results are stored.
``refused`` names tensors for which mergekit raises; their results are NaN.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from mergekit.merge_methods import merge_tensors, registered_methods  # type: ignore[import-not-found]
from numpy.typing import NDArray
from safetensors.torch import save_file

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.golden.mergekit_operator_cases import CASES, POOLS, SHAPES, Case, Weights
from tests.merge.counter_hash_reference import kept

FOLDER = Path(__file__).parent
NAME = "mergekit_operators_0_1_5"
WEIGHTED = {
    "linear", "task_arithmetic", "nuslerp", "multislerp", "ties", "dare_linear", "dare_ties", "della", "della_linear",
    "breadcrumbs", "breadcrumbs_ties",
}  # fmt: skip
THEIR_NAMES = {"flatten": "nuslerp_flatten", "row_wise": "nuslerp_row_wise"}
CUTTING = ("ties", "breadcrumbs", "breadcrumbs_ties", "sce")


def merge(case: Case, settings: dict[str, Any], tensor: str, pool: dict[str, Weights], dtype: torch.dtype) -> Any:
    """What mergekit makes of one tensor of a case."""
    names = (*(("base",) if case.base else ()), *case.names)
    parameters = {THEIR_NAMES.get(key, key): _by_model(case, value) for key, value in settings.items()}
    if case.method in WEIGHTED:
        parameters["weight"] = dict(zip(case.names, case.coefficients, strict=True))
    elif case.method == "slerp":
        parameters["t"] = case.coefficients[-1]
    elif case.method == "passthrough":
        parameters["scale"] = case.coefficients
    base_index = 0 if case.base or case.method == "slerp" else None
    tensors = [pool[name][tensor] for name in names]
    drawn = iter(drawing(case, settings))
    with patch.object(torch, "bernoulli", hash_masks(tensor, drawn)):
        merged = merge_tensors(
            tensors, case.method, parameters=parameters, ids=names, base_index=base_index, name=tensor, dtype=dtype
        )
    assert next(drawn, None) is None or not case.method.startswith(("dare", "della")), "fewer masks than expected"
    return merged


def _by_model(case: Case, value: Any) -> Any:
    return dict(zip(case.names, value, strict=True)) if isinstance(value, tuple) else value


def each(case: Case, settings: dict[str, Any], key: str, default: float) -> dict[str, float]:
    """A setting of each model."""
    value = _by_model(case, settings.get(key, default))
    return value if isinstance(value, dict) else dict.fromkeys(case.names, value)


def drawing(case: Case, settings: dict[str, Any]) -> list[str]:
    """Models for which mergekit draws a mask, in its order."""
    return [name for name, density in each(case, settings, "density", 1.0).items() if density < 1.0]


def hash_masks(tensor: str, models: Iterator[str]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A ``torch.bernoulli`` that is called for these models in turn."""

    def bernoulli(p: torch.Tensor) -> torch.Tensor:
        probability = p.numpy().astype(np.float64)
        return torch.from_numpy(kept(tensor, next(models), probability)).to(p.dtype)

    return bernoulli


def cut_settings(case: Case, tensor: str, pool: dict[str, Weights]) -> dict[str, Any]:
    """The settings, with densities moved to where no equal entries are parted."""
    settings = case.settings
    if case.method not in CUTTING:
        return settings
    deltas = torch.stack([pool[name][tensor].float() - pool["base"][tensor].float() for name in case.names])
    if case.method == "sce":
        spread = torch.var(deltas.double(), dim=0, unbiased=False).numpy()
        return settings | {
            "select_topk": untied(spread, int(np.count_nonzero(spread)), settings["select_topk"], 0.0)[0]
        }
    gamma = settings.get("gamma", 0.0)
    wanted = each(case, settings, "density", 1.0).values()
    pairs = [untied(d.abs().numpy(), d.numel(), w, gamma) for d, w in zip(deltas, wanted, strict=True)]
    if pairs == [(w, gamma) for w in wanted]:
        return settings
    moved = dict(zip(("density", "gamma"), zip(*pairs, strict=True), strict=True))
    return settings | {key: value for key, value in moved.items() if key in settings}


def untied(values: NDArray[Any], n: int, density: float, gamma: float) -> tuple[float, float]:
    """The density and share of outliers nearest to those asked for whose cuts part no equal values.

    Values are equal if rounding could swap them. Cuts among zeros are harmless.
    """
    falling = np.sort(values.reshape(-1).astype(np.float64))[::-1]
    parts_equals = (falling[:-1] * (1 - 1e-5) <= falling[1:]) & (falling[1:] != 0.0)  # between i and i + 1
    clean = np.array([0, *(np.flatnonzero(~parts_equals) + 1), falling.size])
    target, top = int(density * n), int(gamma * n)
    high = min(top, n - target)  # as many large values go as the density allows
    if density >= 1.0 or density <= 0.0 or {high, high + target} <= set(clean):
        return density, gamma
    high = min(clean[:-1], key=lambda cut: abs(cut - high))
    low = min(clean[clean > high], key=lambda cut: abs(cut - high - target))
    if low == n:  # gamma stays above what is left to remove
        return (n - high + 0.25) / n, max(gamma, (high + 0.25) / n)
    return (low - high + 0.25) / n, (high + 0.25) / n if gamma else gamma


def check_ranks(case: Case, settings: dict[str, Any], tensor: str, pool: dict[str, Weights]) -> None:
    """Stop if a mask of DELLA depends on the order in which equal magnitudes are ranked."""
    if not case.method.startswith("della"):
        return
    densities, epsilons = (each(case, settings, key, 1.0) for key in ("density", "epsilon"))
    for name in drawing(case, settings):
        delta = (pool[name][tensor].float() - pool["base"][tensor].float()).abs()
        rows = np.atleast_2d(delta.numpy()).swapaxes(1, -1)  # mergekit ranks along axis 1
        smaller = (rows[..., None, :] < rows[..., :, None]).sum(-1)
        as_large = (rows[..., None, :] <= rows[..., :, None]).sum(-1) - 1
        low, step = densities[name] - epsilons[name], 2 * epsilons[name] / (rows.shape[-1] - 1)
        masks = [kept(tensor, name, (low + step * ranks).swapaxes(1, -1)) for ranks in (smaller, as_large)]
        if np.any((masks[0] != masks[1]) & (delta.numpy() != 0.0)):
            raise SystemExit(
                f"{case.method}/{case.label}: the mask of {name}, {tensor} hangs on tied ranks; change the seed."
            )


def run(case: Case, pool: dict[str, Weights]) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
    """All tensors of a case on one line in float32 and in float64, shape ``(P,)``, and what is special about them."""
    lines: list[list[torch.Tensor]] = [[], []]
    notes: dict[str, Any] = {"by_tensor": {}, "float32_error": {}, "refused": []}
    for tensor, shape in SHAPES.items():
        settings = cut_settings(case, tensor, pool)
        if shape == (1,) and case.method.startswith("della"):
            notes["refused"].append(tensor)  # ranks of one element: 0 / 0, which torch.bernoulli refuses
            made = [torch.full(shape, torch.nan)] * 2
        else:
            check_ranks(case, settings, tensor, pool)
            made = [merge(case, settings, tensor, pool, dtype) for dtype in (torch.float32, torch.float64)]
        error = float((made[0] - made[1]).abs().max() / made[1].abs().max())
        notes["float32_error"] |= {tensor: error} if error > 1e-6 else {}
        moved = {key: value for key, value in settings.items() if value != case.settings[key]}
        notes["by_tensor"] |= {tensor: moved} if moved else {}
        for line, merged in zip(lines, made, strict=True):
            line.append(merged.reshape(-1).float())
    return torch.cat(lines[0]), torch.cat(lines[1]), {key: note for key, note in notes.items() if note}


def main() -> None:
    """Write mergekit_operators_0_1_5.safetensors and .json next to this file."""
    torch.set_num_threads(1)
    found = {package: version(package) for package in ("mergekit", "torch", "numpy")}
    if found["mergekit"] != "0.1.5":
        raise SystemExit(f"Expected mergekit 0.1.5, but {found['mergekit']} is installed.")
    pools = {name: kind.draw() for name, kind in POOLS.items()}
    tensors = {f"source/{p}/{m}": _on_one_line(state) for p, pool in pools.items() for m, state in pool.items()}
    lines = []
    for case in CASES:
        notes = {}
        for name in case.pools:
            key = f"{case.method}/{case.label}/{name}"
            tensors[f"output/{key}"], exact, notes[name] = run(case, pools[name])
            tensors |= {f"float64/{key}": exact} if "float32_error" in notes[name] else {}
        lines.append(json.dumps(asdict(case) | {"models": case.names, "pools": notes}))
    save_file(tensors, FOLDER / f"{NAME}.safetensors")
    (FOLDER / f"{NAME}.safetensors").chmod(0o644)
    found["cpu"] = torch.backends.cpu.get_cpu_capability()
    head = {"versions": found, "methods": sorted(m.spec.name for m in registered_methods()), "shapes": SHAPES}
    text = json.dumps(head)[:-1] + ', "cases": [\n' + ",\n".join(lines) + "\n]}\n"
    (FOLDER / f"{NAME}.json").write_text(text, encoding="utf-8")


def _on_one_line(state: Weights) -> torch.Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in state.values()])


if __name__ == "__main__":
    main()

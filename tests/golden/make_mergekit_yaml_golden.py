"""Make the golden outputs of exported mergekit configurations.

Needs an environment of its own with ``mergekit==0.1.5`` (LGPL-3.0, run as a separate program, not imported):

    python tests/golden/make_mergekit_yaml_golden.py --mergekit-yaml OTHER_ENVIRONMENT/bin/mergekit-yaml

Writes ``mergekit_yaml_0_1_5.json`` (recipes, configurations, versions) and ``mergekit_yaml_0_1_5.safetensors`` (the
tiny source models and what mergekit made of them, each as one line of numbers in layout order).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from searcher.export.mergekit_yaml import mergekit_yaml
from searcher.pool.pool import Pool, open_pool
from tests.export.tiny_models import recipe_by, write_llamas

if TYPE_CHECKING:
    import torch

    from searcher.pool.layout import TensorEntry

FOLDER = Path(__file__).resolve().parent
NAME = "mergekit_yaml_0_1_5"
VERSION = "0.1.5"
SOURCES = {name: name for name in ("base", "low", "high")}


@dataclass(frozen=True)
class Case:
    """One recipe: operator, coefficients per tensor, settings (also per tensor), models and sources."""

    name: str
    operator: str
    row: Callable[[TensorEntry], tuple[float, ...]]
    settings: dict[str, Any] = field(default_factory=dict)
    models: tuple[str, ...] = ("low", "high")
    base: str | None = "base"
    pool: str = "untied"


POOLS: dict[str, dict[str, Any]] = {
    "untied": {"n_layers": 4, "tied": False},
    "tied": {"n_layers": 2, "tied": True},
    "bfloat16": {"n_layers": 2, "tied": False, "dtype": "bfloat16"},
}


def _everywhere(*row: float) -> Callable[[TensorEntry], tuple[float, ...]]:
    return lambda _: row


def _by_block(entry: TensorEntry) -> tuple[float, ...]:
    """Blocks 0 and 1 are alike; embedding, norm and head have numbers of their own."""
    if entry.block is None:
        return {"embedding": (0.15, 0.05), "norm": (0.25, -0.5), "head": (0.35, 0.45)}[entry.kind]
    return ((0.6, 0.3), (0.6, 0.3), (-0.2, 1.1), (0.125, 0.000001))[entry.block]


def _by_kind(entry: TensorEntry) -> tuple[float, ...]:
    """The same in every block, but attention, MLP and norms differ."""
    return {"attention": (0.7, 0.2), "mlp": (0.1, 0.9), "norm": (0.5, 0.5)}.get(entry.kind, (0.3, 0.3))


def _by_both(entry: TensorEntry) -> tuple[float, ...]:
    """Every block and every kind."""
    first = 0.1 * (1 + (entry.block if entry.block is not None else 6))
    return (first, {"attention": 0.2, "mlp": 0.4, "norm": 0.6}.get(entry.kind, 0.8))


def _position(entry: TensorEntry) -> tuple[float, ...]:
    """A position between two ends by block and kind, and the same for a norm alone in its block."""
    depth = 0.9 if entry.block is None else 0.2 * (1 + entry.block)
    return (depth / 2 if entry.kind == "mlp" else depth,)


def _two_ends(entry: TensorEntry) -> tuple[float, ...]:
    (t,) = _position(entry)
    return (1 - t, t)


def _by_depth(*values: float) -> Callable[[TensorEntry], float]:
    """A setting outside the blocks, and one for each of four blocks."""
    return lambda entry: values[0] if entry.block is None else values[1 + entry.block]


def _mixed(entry: TensorEntry) -> tuple[float, ...]:
    """Positive coefficients of two models, by block."""
    first, second = _by_both(entry)
    return (first + 0.3, second)


def _density(entry: TensorEntry) -> float:
    return 0.3 if entry.block is None else (0.25, 0.55, 0.55, 0.9)[entry.block]


MERGEKIT: dict[str, Any] = {"convention": "mergekit"}
DEPTH: dict[str, Any] = {"lines_alpha": 0.5, "lines_beta": 0.75}

CASES = (
    Case("linear", "linear", _everywhere(0.5, 1.5), base=None),
    Case("linear with base by block", "linear", _by_block, {"normalize": False}, base=None),
    Case("linear by kind", "linear", _by_kind, {"normalize": True}, base=None),
    Case("task_arithmetic", "task_arithmetic", _everywhere(0.8, -0.3)),
    Case("task_arithmetic by block", "task_arithmetic", _by_block, {"lambda": 0.7}),
    Case("task_arithmetic by block and kind", "task_arithmetic", _by_both),
    Case("task_arithmetic normalised, lambda by block", "task_arithmetic", _by_both,
         {"normalize": True, "lambda": lambda e: 1.0 if e.block is None else 0.5 + 0.25 * e.block}),
    Case("task_arithmetic tied", "task_arithmetic", _by_both, pool="tied"),
    Case("task_arithmetic bfloat16", "task_arithmetic", _by_both, pool="bfloat16"),
    Case("slerp from base", "slerp", _position, models=("high",)),
    Case("slerp of two models", "slerp", _two_ends, base=None),
    Case("slerp tied", "slerp", _position, models=("low",), pool="tied"),
    Case("slerp bfloat16", "slerp", _position, models=("low",), pool="bfloat16"),
    Case("ties", "ties", _everywhere(0.5, 0.5), {"density": 0.5}),
    Case("ties without trimming, by block and kind", "ties", _by_both, {"lambda": 1.3}),
    Case("ties with densities by block", "ties", _by_both, {"density": _density}),
    Case("ties with densities by model", "ties", _by_both, {"density": lambda e: (0.37, 0.6)}),
    Case("ties not normalised", "ties", _by_block, {"density": 0.37, "normalize": False, "lambda": 0.9}),
    Case("ties bfloat16", "ties", _by_both, pool="bfloat16"),
    Case("linear with depth", "linear", _mixed, DEPTH),
    Case("task_arithmetic with depth", "task_arithmetic", _by_both, {"lambda": 0.7, **DEPTH}),
    Case("ties with depth, mergekit", "ties", _by_block, {"density": _density, "lambda": 0.9, **MERGEKIT, **DEPTH}),
    Case("ties rescaled", "ties", _by_both, {"density": 0.4, "rescale": True}),
    Case("breadcrumbs", "breadcrumbs", _by_both, {"density": _density, "gamma": 0.03, "normalize": True, "lambda": 0.8}),
    Case("breadcrumbs by model, mergekit", "breadcrumbs", _by_block,
         {"density": lambda e: (0.37, 0.6), "gamma": _by_depth(0.0, 0.02, 0.05, 0.1, 0.1), **MERGEKIT}),
    Case("breadcrumbs_ties", "breadcrumbs_ties", _by_both, {"density": _density, "gamma": 0.05, "normalize": True}),
    Case("breadcrumbs_ties with depth, mergekit", "breadcrumbs_ties", _by_block,
         {"density": 0.55, "gamma": 0.05, **MERGEKIT, **DEPTH}),
    Case("dare_linear", "dare_linear", _by_block, {"lambda": 0.6}),
    Case("dare_ties", "dare_ties", _by_both, {"lambda": 0.6, **DEPTH}),
    Case("della", "della", _by_block, MERGEKIT),
    Case("della_linear", "della_linear", _by_both, {"normalize": True, **DEPTH}),
    Case("nuslerp", "nuslerp", _by_both),
    Case("nuslerp of weights by row", "nuslerp", _mixed, {"flatten": False, "row_wise": True, **MERGEKIT}, base=None),
    Case("nuslerp by vector", "nuslerp", _mixed, {"flatten": False}),
    Case("multislerp", "multislerp", lambda e: (_by_both(e)[0],) * 2, {**DEPTH}),
    Case("multislerp mergekit", "multislerp", _by_both, MERGEKIT),
    Case("multislerp of weights, mergekit", "multislerp", _by_both, {"normalize_weights": False, **MERGEKIT}, base=None),
    Case("karcher", "karcher", _everywhere(0.5, 0.5), {"max_iter": _by_depth(10, 1, 2, 0, 3), **MERGEKIT}),
    Case("model_stock", "model_stock", _everywhere(2.0, 2.0), MERGEKIT),
    Case("model_stock by filter", "model_stock", _everywhere(1.0, 1.0), {"filter_wise": True, **MERGEKIT}),
    Case("sce", "sce", _everywhere(1.0, 1.0), {"select_topk": _density, **MERGEKIT}),
    Case("ram", "ram", _everywhere(1.0, 1.0), {"epsilon": _by_depth(0.01, 0.001, 0.02, 0.02, 0.1)}),
    Case("ramplus_tl", "ramplus_tl", _everywhere(1.0, 1.0),
         {"epsilon": 0.02, "r": _by_depth(0.1, 0.2, 0.3, 0.4, 0.5), "alpha": 0.7}),
    Case("nearswap", "nearswap", _everywhere(1.0), {"t": _by_depth(0.01, 0.001, 0.02, 0.02, 0.0000005)}, models=("high",)),
    Case("arcee_fusion", "arcee_fusion", _everywhere(1.0), MERGEKIT, models=("low",)),
    Case("passthrough", "passthrough", lambda e: (_by_both(e)[0],), base=None, models=("low",)),
    Case("passthrough tied", "passthrough", lambda e: (_by_both(e)[0],), base=None, models=("low",), pool="tied"),
    Case("della bfloat16", "della", _by_both, pool="bfloat16"),
    Case("nuslerp bfloat16", "nuslerp", _mixed, pool="bfloat16"),
    Case("sce bfloat16", "sce", _everywhere(1.0, 1.0), MERGEKIT, pool="bfloat16"),
)  # fmt: skip


def open_case_pool(root: Path) -> Pool:
    """The pool of a case, from the folders written into ``root``."""
    return open_pool(base="base", models=["low", "high"], root=root)


def on_one_line(pool: Pool, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The tensors of a checkpoint in layout order, shape ``(P,)``; there must be no others."""
    import torch

    names = [entry.name for entry in pool.layout.tensors]
    if set(tensors) != set(names):
        raise ValueError(f"Expected the tensors of the layout, but got {sorted(set(tensors) ^ set(names))} besides.")
    return torch.cat([tensors[name].reshape(-1) for name in names])


def run_mergekit(program: str, text: str, root: Path, out: Path) -> dict[str, torch.Tensor]:
    """What mergekit makes of a configuration whose sources are folders of ``root``."""
    from safetensors import safe_open

    (root / "config.yaml").write_text(text, encoding="utf-8")
    options = ["--no-copy-tokenizer", "--no-write-model-card"]  # a card asks the hub for names without a slash
    subprocess.run([program, "config.yaml", str(out), *options], cwd=root, check=True, capture_output=True)
    tensors = {}
    for path in sorted(out.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            tensors.update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - not a mapping
    return tensors


def versions(program: str) -> dict[str, str]:
    """torch beside mergekit, and what it calls the processor; cancellation in two methods hangs on them."""
    code = "import torch; print(torch.__version__, torch.backends.cpu.get_cpu_capability())"
    python = str(Path(program).with_name("python"))
    printed = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    return dict(zip(("torch", "cpu"), printed.split(), strict=True))


def main() -> None:
    """Write both files."""
    from safetensors.torch import load_file, save_file

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mergekit-yaml", required=True, help="path of the program")
    program = parser.parse_args().mergekit_yaml
    tensors: dict[str, torch.Tensor] = {}
    record: dict[str, Any] = {"mergekit": VERSION, "versions": versions(program), "pools": POOLS, "cases": {}}
    with tempfile.TemporaryDirectory() as temporary:
        for pool_name, shape in POOLS.items():
            root = Path(temporary) / pool_name
            folders = write_llamas(root, **shape)
            pool = open_case_pool(root)
            for folder in folders:
                tensors[f"{pool_name}/{folder.name}"] = on_one_line(pool, load_file(folder / "model.safetensors"))
            for case in (case for case in CASES if case.pool == pool_name):
                recipe = recipe_by(
                    pool.layout, case.operator, case.row, models=case.models, base=case.base, settings=case.settings
                )
                text = mergekit_yaml(recipe, pool.layout, sources=SOURCES, dtype=pool.dtype)
                made = run_mergekit(program, text, root, root / "out" / case.name.replace(" ", "_"))
                tensors[case.name] = on_one_line(pool, made)
                record["cases"][case.name] = {"pool": pool_name, "recipe": recipe.to_json(), "yaml": text}
                print(f"{case.name}: {len(made)} tensors")
    save_file(tensors, FOLDER / f"{NAME}.safetensors")
    (FOLDER / f"{NAME}.safetensors").chmod(0o644)
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

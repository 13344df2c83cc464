"""A merge of LoRA adapters as one adapter, by exact concatenation.

``sum_k c_k s_k B_k A_k = [c_1 s_1 B_1, c_2 s_2 B_2, ...] @ [A_1; A_2; ...]``: ranks add up, coefficients and
scalings are folded into B, and nothing is approximated. Coefficients may differ from tensor to tensor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searcher.errors import ExportError
from searcher.export.segments import segment_of_tensors
from searcher.merge.facts import NoTables, TensorFacts
from searcher.merge.merge_tensor import scaled_plan
from searcher.merge.operators.base import make_operator
from searcher.merge.plan import WholeTensor
from searcher.pool.files import ADAPTER_CONFIG, ADAPTER_FILE, inside
from searcher.pool.layout import Layout, TensorEntry
from searcher.pool.strict_json import read_json_object

if TYPE_CHECKING:
    import torch

    from searcher.merge.engine import MergeEngine
    from searcher.pool.lora import LoraSource
    from searcher.pool.pool import Pool
    from searcher.recipe import Recipe

OPERATORS_WITH_ADAPTERS = ("linear", "task_arithmetic")
_FIX = "Export with format hf (the merged weights) or recipe."


def write_adapter(folder: Path, recipe: Recipe, pool: Pool, *, base_id: str | None) -> list[str]:
    """Write the PEFT adapter that turns the base into the merge.

    Args:
        folder: An existing folder.
        recipe: ``task_arithmetic``, or ``linear`` whose weights of the base add up to 1, of adapters.
        pool: The pool with the adapters.
        base_id: Hub id of the base for ``base_model_name_or_path``, or None; local paths are not written.

    Returns:
        Names of the files written.

    Raises:
        ExportError: If the merge is not the base plus a sum of scaled adapters, or a segment ends inside a tensor.
    """
    from safetensors.torch import save_file

    recipe = recipe.canonical()
    adapters = _adapters(recipe, pool)
    segments = segment_of_tensors(recipe, pool.layout, format_name="lora")
    n_blocks = pool.layout.n_blocks
    scales = [_scales(recipe, s, adapters, e, n_blocks) for e, s in zip(pool.layout.tensors, segments, strict=True)]
    factors = _factors(pool.layout, scales, adapters)
    rank = max(1, *(down.shape[0] for down, _ in factors.values()))
    tensors: dict[str, torch.Tensor] = {}
    for target, (down, up) in factors.items():
        key = f"base_model.model.{_module(target)}.lora"
        first, second = (
            ("_embedding_A", "_embedding_B") if _is_embedding(target, adapters) else ("_A.weight", "_B.weight")
        )
        tensors[key + first], tensors[key + second] = _padded(down, rank, 0), _padded(up, rank, 1)
    save_file(tensors, folder / ADAPTER_FILE, metadata={"format": "pt"})
    config = _config([_module(target) for target in factors], rank, list(adapters.values()), base_id)
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return [ADAPTER_FILE, ADAPTER_CONFIG]


def check_adapter(folder: Path, recipe: Recipe, engine: MergeEngine, pool: Pool) -> float:
    """Read an adapter back as a pool would, and compare base plus adapter with the merged weights.

    Returns:
        Largest difference over the largest number in its tensor; a fraction, of the order of the rounding of the
        storage type.

    Raises:
        ExportError: If a tensor differs by more than rounding; it is named.
    """
    import torch

    adapter = _reopened(folder, pool)
    n_roundings = 2 + 2 * len(recipe.models)  # each source once when stored and once when scaled, then the sum
    tolerance = n_roundings * torch.finfo(engine.dtype).eps
    worst = 0.0
    for name, merged in engine.stream(recipe):
        if not merged.numel():
            continue
        expected = pool.reference.read(name).to(torch.float32) + adapter.read(name)
        size = max(float(abs(c)) for c in recipe.coefficients.flat) + 1.0
        scale = size * max(float(pool.source(n).read(name).abs().max()) for n in (pool.reference.name, *recipe.models))
        difference = float((expected - merged.to(torch.float32)).abs().max()) / (scale or 1.0)
        if not difference <= tolerance:
            raise ExportError(
                f"The adapter does not reproduce the merge: relative difference {difference:.3g}.",
                where=f"tensor {name}",
                fix=_FIX,
            )
        worst = max(worst, difference)
    return worst


def _reopened(folder: Path, pool: Pool) -> LoraSource:
    """A written adapter as a source of the pool."""
    from searcher.pool.files import find_files
    from searcher.pool.lora import LoraSource

    orientation = {} if pool.loader is None else pool.loader.skeleton(pool.reference).orientation
    return LoraSource(
        "export", find_files(folder), "export", pool.reference, orientation=orientation, tied=pool.layout.tied
    )


def _adapters(recipe: Recipe, pool: Pool) -> dict[int, LoraSource]:
    """The recipe's adapters by their position among its models; the base itself may be there too."""
    from searcher.pool.lora import LoraSource

    if recipe.operator not in OPERATORS_WITH_ADAPTERS or pool.base is None:
        raise ExportError(
            f"A merge by {recipe.operator!r} is not a sum of adapters on the base.",
            where="recipe, operator",
            fix=f"{_FIX} Format lora works for {' and '.join(OPERATORS_WITH_ADAPTERS)}.",
        )
    found: dict[int, LoraSource] = {}
    for k, name in enumerate(recipe.models):
        source = pool.source(name)
        if isinstance(source, LoraSource):
            found[k] = source
        elif name != pool.base.name:
            raise ExportError(f"Source {name!r} is a full model, not an adapter.", where=f"source {name}", fix=_FIX)
    if not found:
        raise ExportError("The recipe has no adapters.", where="recipe, models", fix=_FIX)
    return found


def _scales(
    recipe: Recipe, segment: int, adapters: Mapping[int, LoraSource], entry: TensorEntry, n_blocks: int
) -> tuple[float, ...]:
    """By how much each model's change of the base is multiplied in one tensor, from the operator's own plan.

    Raises:
        ExportError: If the base is not taken exactly once.
    """
    n = len(recipe.models)
    operator = make_operator(recipe.operator, recipe.settings_at(segment))
    coefficients = tuple(recipe.coefficients[segment].tolist())
    is_delta = tuple(k in adapters for k in range(n))
    facts = TensorFacts(
        entry.name, entry.shape, recipe.models, is_delta, True, _unread, NoTables(), entry.block, n_blocks
    )
    plan = scaled_plan(operator, operator.plan(coefficients, facts), facts)
    assert not isinstance(plan, WholeTensor)  # the operators with adapters are sums
    scales = dict(zip(plan.used, (plan.factor[0] * plan.scales[0]).tolist(), strict=True))
    of_weights = plan.vectors == "weights"  # then every term, an adapter's too, brings the base along
    base = (0.0 if plan.origin is None else float(plan.origin[0])) + (sum(scales.values()) if of_weights else 0.0)
    if abs(base - 1.0) > 1e-6:
        raise ExportError(
            f"Segment {segment} takes the base {base:.6g} times instead of once, which no adapter can express.",
            where=f"recipe, segment {segment}, coefficients {list(coefficients)}",
            fix=_FIX,
        )
    return tuple(scales.get(k, 0.0) for k in range(n))


def _unread(k: int) -> torch.Tensor:
    raise AssertionError(f"sums are planned without looking at weights, here those of {k}")


def _factors(
    layout: Layout, scales: Sequence[Sequence[float]], adapters: Mapping[int, LoraSource]
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """A of shape (sum of ranks, in) and B of shape (out, sum of ranks), float32, of each tensor that changes."""
    import torch

    found = {}
    for entry, scale in zip(layout.tensors, scales, strict=True):
        downs, ups = [], []
        for k, adapter in adapters.items():
            factors = adapter.factors(entry.name)
            if factors is not None:
                down, up, scaling = factors
                downs.append(down.to(torch.float32))
                ups.append(up.to(torch.float32) * (scale[k] * scaling))
        if downs:
            found[entry.name] = (torch.cat(downs, dim=0), torch.cat(ups, dim=1))
    return found


def _padded(factor: torch.Tensor, rank: int, axis: int) -> torch.Tensor:
    """A factor with zeros up to the adapter's rank, which is the same for all tensors."""
    import torch

    missing = list(factor.shape)
    missing[axis] = rank - factor.shape[axis]
    return torch.cat([factor, factor.new_zeros(missing)], dim=axis).contiguous()


def _module(target: str) -> str:
    """Name of the module that holds a tensor."""
    return target.removesuffix(".weight")


def _common_base(configs: Sequence[Mapping[str, Any]]) -> str | None:
    """The base that all adapters name; None if they disagree or name a path of somebody's machine."""
    names = {config.get("base_model_name_or_path") for config in configs}
    name = names.pop() if len(names) == 1 else None
    is_local = not isinstance(name, str) or name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1
    return None if is_local else str(name)


def _is_embedding(target: str, adapters: Mapping[int, LoraSource]) -> bool:
    """Whether PEFT keeps the tensor's factors under the names it uses for embeddings."""
    key = f"{_module(target)}.lora_embedding_A"
    return any(key in name for adapter in adapters.values() for name in adapter.stored)


def _config(modules: Sequence[str], rank: int, adapters: Sequence[LoraSource], base_id: str | None) -> dict[str, Any]:
    """adapter_config.json with alpha = rank, so that PEFT's own scaling is 1."""
    configs = [read_json_object(inside(adapter.path, ADAPTER_CONFIG)) for adapter in adapters]
    layouts = {bool(config.get("fan_in_fan_out")) for config in configs}
    if len(layouts) > 1:
        raise ExportError(
            "The adapters disagree on fan_in_fan_out.", where=", ".join(a.name for a in adapters), fix=_FIX
        )
    return {
        "peft_type": "LORA",
        "task_type": configs[0].get("task_type"),
        "base_model_name_or_path": base_id or _common_base(configs),
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": layouts.pop(),
        "target_modules": sorted(modules),
        "inference_mode": True,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
    }

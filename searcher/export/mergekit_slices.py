"""A recipe with ``layers`` as a mergekit 0.1.5 configuration: one slice per run of consecutive layers of a model.

Each slice copies (``passthrough``); factors on output projections are its ``scale``. mergekit takes what lies before the
layers from the models of the first slice and what lies behind from those of the last. Where the recipe takes these from
another model the configuration is a ``linear`` one instead, whose outer slices have that model as a second source with
weight 1 there and 0 in the layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from searcher.errors import ExportError
from searcher.export.mergekit_filters import setting_for
from searcher.export.mergekit_recipe import FIX
from searcher.export.mergekit_yaml import DTYPES, dump_config
from searcher.export.segments import segment_of_tensors
from searcher.pool.depth import BuiltLine, Stack, find_stack
from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe


def mergekit_slices(recipe: Recipe, layout: Layout, *, sources: Mapping[str, str], dtype: str) -> str:
    """The configuration with which ``mergekit-yaml`` makes the same model.

    Args:
        recipe: A merge with layers.
        layout: The pool's parameter line.
        sources: Source name to what mergekit loads: a hub id (with ``@revision``) or a folder, and for an adapter
            ``base+adapter``.
        dtype: Storage dtype of the output: ``float32``, ``bfloat16`` or ``float16``.

    Raises:
        ExportError: If mergekit cannot express the recipe: layers that are mixtures, ends of several models, or factors
            that cut a tensor.
        ValueError: If the recipe has no layers, or the pool's models have no such layers.
    """
    if recipe.layers is None:
        raise ValueError("Expected a recipe with layers.")
    if dtype not in DTYPES:
        raise ExportError(f"mergekit cannot store {dtype} from float32 arithmetic.", where="pool dtype", fix=FIX)
    stack = find_stack(layout)
    built = _Built(recipe, stack, stack.at_depth([layer for _, layer in recipe.layers]))
    outer, runs = built.ends(), built.runs()
    is_copy = outer in (None, runs[0].source) and outer in (None, runs[-1].source)
    if is_copy:
        slices = [{"sources": [_source(run, sources, run.source, "scale", run.scales)]} for run in runs]
        config: dict[str, Any] = {"merge_method": "passthrough", "slices": slices}
    else:
        assert outer is not None  # there would be nothing to take from elsewhere
        slices = [{"sources": _weighted(built, run, sources, outer)} for run in runs]
        config = {"merge_method": "linear", "slices": slices, "parameters": {"normalize": False}}
    return dump_config({**config, "dtype": "float32", "out_dtype": dtype})


@dataclass(frozen=True)
class _Run:
    """Consecutive layers of one model with equal factors.

    Args:
        source: The model.
        depth: Of the first.
        layer: Number of the first in the model.
        length: Number of layers.
        scales: Factor of each tensor, by name inside the layer.
    """

    source: str
    depth: int
    layer: int
    length: int
    scales: Mapping[str, float]


class _Built:
    """A recipe's model: which model each tensor is from, and by what it is multiplied."""

    def __init__(self, recipe: Recipe, stack: Stack, line: BuiltLine) -> None:
        self._stack, self.layers, self._layout = stack, recipe.layers or (), line.layout
        segments = segment_of_tensors(recipe, line.layout, format_name="mergekit")
        self._rows = {t.name: recipe.coefficients[s] for t, s in zip(line.layout.tensors, segments, strict=True)}
        self._models = recipe.models
        self._by_depth: dict[int | None, list[TensorEntry]] = {}
        for tensor in line.layout.tensors:
            self._by_depth.setdefault(tensor.block, []).append(tensor)

    @property
    def outside(self) -> list[str]:
        """Names outside the layers, of tied tensors too."""
        return [*(t.name for t in self._by_depth.get(None, [])), *self._layout.tied]

    def ends(self) -> str | None:
        """The model of all tensors outside the layers; None if there are none.

        Raises:
            ExportError: If they are of several, or are multiplied.
        """
        found = {self._only(tensor) for tensor in self._by_depth.get(None, []) if tensor.size}
        if len(found) > 1 or any(scale != 1.0 for _, scale in found):
            raise _refused("embeddings, final norm and head are not those of one model")
        return next((source for source, _ in found), None)

    def runs(self) -> list[_Run]:
        """The layers in runs.

        Raises:
            ExportError: If a layer is a mixture.
        """
        runs: list[_Run] = []
        for depth, (source, layer) in enumerate(self.layers):
            found, last = _Run(source, depth, layer, 1, self._scales(depth, source)), runs[-1] if runs else None
            if last is not None and _follows(last, found):
                runs[-1] = replace(last, length=last.length + 1)
            else:
                runs.append(found)
        return runs

    def _scales(self, depth: int, source: str) -> dict[str, float]:
        scales = {}
        for tensor in self._by_depth[depth]:
            found, scale = self._only(tensor) if tensor.size else (source, 1.0)
            if found != source:
                raise _refused(f"{tensor.name} is not from {source} alone, whose layer stands at depth {depth}")
            scales[self._stack.local(tensor.name).removeprefix(".")] = scale
        return scales

    def _only(self, tensor: TensorEntry) -> tuple[str, float]:
        """The one model that a tensor is from, and its coefficient."""
        row = self._rows[tensor.name]
        used = [k for k, value in enumerate(row) if value != 0.0]
        if len(used) != 1:
            raise _refused(f"{tensor.name} is a mixture of {len(used)} models")
        return self._models[used[0]], float(row[used[0]])


def _follows(run: _Run, other: _Run) -> bool:
    """Whether a layer goes on where a run ends, in the same model and with the same factors."""
    return (run.source, run.layer + run.length, run.scales) == (other.source, other.layer, other.scales)


def _weighted(built: _Built, run: _Run, sources: Mapping[str, str], outer: str) -> list[dict[str, Any]]:
    """Sources of a slice of a linear configuration, in which the ends are of the model ``outer``."""
    is_outer = run.depth == 0 or run.depth + run.length == len(built.layers)
    ends = built.outside if is_outer else []
    own = 1.0 if outer == run.source else 0.0
    found = [_source(run, sources, run.source, "weight", {**run.scales, **dict.fromkeys(ends, own)})]
    if ends and not own:
        weights = {**dict.fromkeys(run.scales, 0.0), **dict.fromkeys(ends, 1.0)}
        found.append(_source(run, sources, outer, "weight", weights))
    return found


def _source(
    run: _Run, sources: Mapping[str, str], name: str, parameter: str, values: Mapping[str, float]
) -> dict[str, Any]:
    """A model with its range of layers and the values of one parameter."""
    if name not in sources:
        raise ExportError(f"mergekit has no location of source {name!r}.", where="recipe, layers", fix=FIX)
    setting = setting_for(values, {local: local for local in run.scales})
    entry: dict[str, Any] = {"model": sources[name], "layer_range": [run.layer, run.layer + run.length]}
    return {**entry, "parameters": {parameter: setting}} if setting != 1.0 or parameter == "weight" else entry


def _refused(why: str) -> ExportError:
    return ExportError(f"The recipe cannot be written for mergekit: {why}.", where="recipe, layers", fix=FIX)

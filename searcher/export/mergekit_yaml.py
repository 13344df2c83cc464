"""A recipe as a mergekit 0.1.5 configuration, where mergekit can express it.

mergekit knows layers and tensor names, not positions inside a tensor. A recipe with one segment becomes a
``models:`` configuration; one whose segments follow the blocks becomes ``slices:``, one slice per run of equal
blocks; differences inside a block or among embeddings, final norm and head become tensor-name filters.

What mergekit computes, checked against its outputs (``tests/golden/mergekit_yaml_0_1_5.json``):

* ``dtype: float32`` makes it compute in float32 as this project does; ``out_dtype`` is what it stores.
* ``normalize`` defaults to true for ``linear`` and ``ties`` there, so it is always written.
* ``ties`` keeps ``max(1, int(density * size))`` entries of each tensor where this project rounds, so the density
  that is written gives the same number. Among entries of equal magnitude mergekit keeps arbitrary ones: with
  16-bit sources and a density below 1 some entries differ.
* ``slerp`` between a tensor of zeros and another uses the sphere there and the line here.
* Otherwise results are equal: bit for bit for ``ties`` and ``task_arithmetic`` and for all 16-bit outputs, and to two
  float32 epsilons of the operands for ``linear`` (fused product and sum) and ``slerp`` (float32 angle).
* A base must be listed among each slice's sources; with ``models:`` it is added by itself.
* Embeddings take the parameters of the first slice, final norm and head those of the last.
* Tied embeddings: a head that no source stores is skipped, and stays tied.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from searcher.errors import ExportError
from searcher.export.mergekit_filters import Setting, setting_for
from searcher.export.mergekit_method import FIX, MergekitMethod, ValueAt, read_method
from searcher.export.segments import segment_of_tensors
from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe

if TYPE_CHECKING:
    from ruamel.yaml.nodes import ScalarNode
    from ruamel.yaml.representer import RoundTripRepresenter

DTYPES = ("float32", "bfloat16", "float16")


def mergekit_yaml(recipe: Recipe, layout: Layout, *, sources: Mapping[str, str], dtype: str) -> str:
    """The configuration with which ``mergekit-yaml`` makes the same model.

    Args:
        recipe: The merge.
        layout: The pool's parameter line.
        sources: Source name to what mergekit loads: a hub id (with ``@revision``) or a folder, and for an adapter
            ``base+adapter``.
        dtype: Storage dtype of the output: ``float32``, ``bfloat16`` or ``float16``.

    Raises:
        ExportError: If mergekit cannot express the recipe; says which segment or setting, and why.
    """
    recipe = recipe.canonical()
    if recipe.layers is not None:
        raise ExportError("A recipe that reorders layers is not written for mergekit.", where="recipe, layers", fix=FIX)
    if dtype not in DTYPES:
        raise ExportError(f"mergekit cannot store {dtype} from float32 arithmetic.", where="pool dtype", fix=FIX)
    method = read_method(recipe, {entry.size for entry in layout.tensors if entry.size})
    _check_sources(method, sources)
    segments = segment_of_tensors(recipe, layout, format_name="mergekit")
    writer = _Writer(_named_tensors(layout, segments), method, sources)
    config: dict[str, Any] = {"merge_method": recipe.operator}
    if method.base is not None:
        config["base_model"] = sources[method.base]
    runs = _runs_of_blocks(recipe, layout, segments)
    config.update(writer.slices(runs) if len(runs) > 1 else writer.models())
    if method.fixed:
        config["parameters"] = {**config.pop("parameters", {}), **method.fixed}
    return _dump({**config, "dtype": "float32", "out_dtype": dtype})


@dataclass(frozen=True)
class _Tensor:
    """A tensor name with its segment, its size, its block and its name inside the block (None outside blocks)."""

    name: str
    segment: int
    size: int
    block: int | None = None
    local: str | None = None


class _Writer:
    """Turns values per tensor into the nested structure of the configuration."""

    def __init__(self, tensors: Sequence[_Tensor], method: MergekitMethod, sources: Mapping[str, str]) -> None:
        self._tensors, self._method, self._sources = tensors, method, sources

    def models(self) -> dict[str, Any]:
        """One ``models:`` list for all layers."""
        return self._scope("models", self._tensors, {})

    def slices(self, runs: Sequence[tuple[int, int]]) -> dict[str, Any]:
        """One slice per run of blocks ``[start, stop)``; the outer slices also carry what lies outside blocks."""
        found = []
        for start, stop in runs:
            outer = start == runs[0][0] or stop == runs[-1][1]
            scope = [t for t in self._tensors if (outer if t.block is None else start <= t.block < stop)]
            found.append(self._scope("sources", scope, {"layer_range": [start, stop]}))
        return {"slices": found}

    def _scope(self, key: str, tensors: Sequence[_Tensor], common: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs with their parameters, and shared parameters, for some tensors."""
        inputs: list[dict[str, Any]] = []
        if self._method.base is not None and (key == "sources" or not self._method.inputs):
            inputs.append({"model": self._sources[self._method.base], **common})
        for name, parameters in self._method.inputs.items():
            entry = {"model": self._sources[name], **common}
            if parameters:
                entry["parameters"] = {p: _setting(value, tensors) for p, value in parameters.items()}
            inputs.append(entry)
        shared = {p: _setting(value, tensors) for p, value in self._method.shared.items()}
        return {key: inputs, **({"parameters": shared} if shared else {})}


def _setting(value: ValueAt, tensors: Sequence[_Tensor]) -> Setting:
    """One parameter over some tensors."""
    values = {t.name: value(t.segment, t.size) for t in tensors}
    return setting_for(values, {t.name: t.local for t in tensors if t.local is not None})


def _named_tensors(layout: Layout, segments: Sequence[int]) -> list[_Tensor]:
    """All tensor names that a checkpoint may hold; a tied alias has the segment of the tensor that stores it."""
    found = []
    for entry, segment in zip(layout.tensors, segments, strict=True):
        parts = _block_parts(entry)
        found.append(_Tensor(entry.name, segment, entry.size, entry.block, None if parts is None else parts[1]))
    by_name = {t.name: t for t in found}
    aliases = [(alias, by_name[name]) for alias, name in layout.tied.items()]
    return found + [_Tensor(alias, stored.segment, stored.size) for alias, stored in aliases]


def _runs_of_blocks(recipe: Recipe, layout: Layout, segments: Sequence[int]) -> list[tuple[int, int]]:
    """Runs ``[start, stop)`` of blocks with the same numbers everywhere; empty if slices cannot be used.

    Slices need one stack of blocks: the same prefix before every block number.
    """
    numbers = [_numbers(recipe, segment) for segment in range(recipe.n_segments)]
    blocks: dict[int, dict[str, object]] = {}
    prefixes = set()
    for entry, segment in zip(layout.tensors, segments, strict=True):
        parts = _block_parts(entry)
        if entry.block is not None and parts is None:
            return []
        if entry.block is not None and parts is not None:
            prefixes.add(parts[0])
            blocks.setdefault(entry.block, {})[parts[1]] = numbers[segment]
    if len(prefixes) != 1 or sorted(blocks) != list(range(len(blocks))):
        return []
    starts = [block for block in sorted(blocks) if block == 0 or blocks[block] != blocks[block - 1]]
    return list(zip(starts, [*starts[1:], len(blocks)], strict=True))


def _numbers(recipe: Recipe, segment: int) -> object:
    """Everything that a segment's merge depends on, comparable."""
    return (tuple(recipe.coefficients[segment].tolist()), tuple(sorted(recipe.settings_at(segment).items())))


def _block_parts(entry: TensorEntry) -> tuple[str, str] | None:
    """What stands before and after the block number in a tensor's name; None if the number is not in it."""
    if entry.block is None:
        return None
    match = re.fullmatch(rf"(.*?(?:^|\.)){entry.block}\.(.+)", entry.name)
    return None if match is None else (match[1], match[2])


def _check_sources(method: MergekitMethod, sources: Mapping[str, str]) -> None:
    """Every input needs a location, and mergekit tells inputs apart by location."""
    names = [*method.inputs, *([] if method.base is None else [method.base])]
    missing = [name for name in names if name not in sources]
    if missing:
        raise ExportError(f"mergekit has no location of source {missing[0]!r}.", where="recipe, models", fix=FIX)
    if len({sources[name] for name in names}) < len(names):
        raise ExportError(
            "Two sources of the recipe are the same folder, which mergekit cannot tell apart.",
            where=f"recipe, models {', '.join(names)}",
            fix=FIX,
        )


def _dump(config: Mapping[str, Any]) -> str:
    """YAML text; numbers without exponents, as YAML 1.1 readers take ``1e-05`` for a string."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter as Base

    class Representer(Base):
        """Writes plain decimals, short lists in one line and no references."""

        @override
        def ignore_aliases(self, data: object) -> bool:
            return True

    def decimal(representer: RoundTripRepresenter, value: float) -> ScalarNode:
        text = format(Decimal(repr(value)), "f")
        return representer.represent_scalar("tag:yaml.org,2002:float", text if "." in text else f"{text}.0")

    def inline(representer: RoundTripRepresenter, value: list[Any]) -> object:
        flow = all(isinstance(item, int | float) for item in value)
        return representer.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flow)

    Representer.add_representer(float, decimal)
    Representer.add_representer(list, inline)
    yaml = YAML()
    yaml.Representer = Representer
    yaml.default_flow_style = False
    yaml.width = 4096
    stream = io.StringIO()
    yaml.dump(dict(config), stream)
    return stream.getvalue()

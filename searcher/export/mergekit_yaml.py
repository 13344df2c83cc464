"""A recipe as a mergekit 0.1.5 configuration, where mergekit can express it.

mergekit knows layers and tensor names, not positions inside a tensor. A recipe with one segment becomes a
``models:`` configuration; one whose segments follow the blocks becomes ``slices:``, one slice per run of equal
blocks; differences inside a block or among embeddings, final norm and head become tensor-name filters.

What mergekit computes, checked against its outputs (``tests/golden/mergekit_yaml_0_1_5.json``):

* ``dtype: float32`` makes it compute in float32 as this project does; ``out_dtype`` is what it stores.
* ``normalize`` defaults to true for ``linear`` and ``ties`` there, so it is always written.
* With ``convention: mergekit`` every operator is written, given what ``mergekit_method`` refuses: other random masks,
  and coefficients or depth scaling of methods that have no weights. With ``paper`` an operator is written where the two
  are the same numbers for any weights: no negative coefficients of ``ties`` and the like if these are normalised, two
  equal positive ones of ``multislerp``; never ``karcher``, ``model_stock``, ``sce`` and ``arcee_fusion``.
* It keeps ``int(density * size)`` entries of each tensor where ``paper`` rounds, so the density (and gamma) that is
  written gives the same number. Among entries of equal magnitude mergekit keeps arbitrary ones: with 16-bit sources and
  a density below 1 some entries differ, as do up to 1e-4 of a tensor of more than 16,384 (a comment says so).
* ``slerp`` and ``nuslerp`` between a tensor of zeros and another use the sphere there and the line in ``paper``.
* Otherwise results are equal: bit for bit where task vectors are summed and for all 16-bit outputs, to two float32
  epsilons of the operands for ``linear`` (fused product and sum) and ``slerp`` (float32 angle), and to 2e-6 of the
  tensor's largest entry for the others.
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
from searcher.export.mergekit_method import read_method
from searcher.export.mergekit_recipe import FIX, MergekitMethod, Place, ValueAt
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
    tensors = _named_tensors(layout, segment_of_tensors(recipe, layout, format_name="mergekit"))
    method = read_method(recipe, {tensor.place for tensor in tensors}, layout.n_blocks)
    _check_sources(method, sources)
    writer = _Writer(tensors, method, sources)
    config: dict[str, Any] = {"merge_method": recipe.operator}
    if method.base is not None:
        config["base_model"] = sources[method.base]
    runs = _runs_of_blocks(method, layout, {tensor.name: tensor.place for tensor in tensors})
    config.update(writer.slices(runs) if len(runs) > 1 else writer.models())
    if method.fixed:
        config["parameters"] = {**config.pop("parameters", {}), **method.fixed}
    notes = "".join(f"# {note}\n" for note in method.notes)
    return notes + dump_config({**config, "dtype": "float32", "out_dtype": dtype})


@dataclass(frozen=True)
class _Tensor:
    """A tensor name with what its numbers depend on and its name inside the block (None outside blocks)."""

    name: str
    place: Place
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
            scope = [t for t in self._tensors if (outer if t.place.block is None else start <= t.place.block < stop)]
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
    values = {t.name: value(t.place) for t in tensors}
    return setting_for(values, {t.name: t.local for t in tensors if t.local is not None})


def _named_tensors(layout: Layout, segments: Sequence[int]) -> list[_Tensor]:
    """All tensor names that a checkpoint may hold; a tied alias has the segment of the tensor that stores it."""
    found = []
    for entry, segment in zip(layout.tensors, segments, strict=True):
        parts = _block_parts(entry)
        place = Place(segment, entry.size, entry.block)
        found.append(_Tensor(entry.name, place, None if parts is None else parts[1]))
    by_name = {t.name: t for t in found}
    return found + [_Tensor(alias, by_name[name].place) for alias, name in layout.tied.items()]


def _runs_of_blocks(method: MergekitMethod, layout: Layout, places: Mapping[str, Place]) -> list[tuple[int, int]]:
    """Runs ``[start, stop)`` of blocks with the same numbers everywhere; empty if slices cannot be used.

    Slices need one stack of blocks: the same prefix before every block number.
    """
    numbers = {place: _numbers(method, place) for place in set(places.values())}
    blocks: dict[int, dict[str, object]] = {}
    prefixes = set()
    for entry in layout.tensors:
        parts = _block_parts(entry)
        if entry.block is not None and parts is None:
            return []
        if entry.block is not None and parts is not None:
            prefixes.add(parts[0])
            blocks.setdefault(entry.block, {})[parts[1]] = numbers[places[entry.name]]
    if len(prefixes) != 1 or sorted(blocks) != list(range(len(blocks))):
        return []
    starts = [block for block in sorted(blocks) if block == 0 or blocks[block] != blocks[block - 1]]
    return list(zip(starts, [*starts[1:], len(blocks)], strict=True))


def _numbers(method: MergekitMethod, place: Place) -> tuple[float, ...]:
    """All parameters of one place, comparable."""
    values = [value for parameters in (*method.inputs.values(), method.shared) for value in parameters.values()]
    return tuple(value(place) for value in values)


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


def dump_config(config: Mapping[str, Any]) -> str:
    """A configuration as YAML text; numbers without exponents, as YAML 1.1 readers take ``1e-05`` for a string."""
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

"""Which tensors the result has, and which tensors of which models each is merged from.

Everything follows from tensor names: the first number in a dotted name is the layer (``model.layers.7.mlp``), what stands
before it the stack. With ``slices`` layer ``J`` of the result takes layer ``L`` of each source; what lies before the stack
(embeddings) belongs to the first slice and what lies after it (final norm, head) to the last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from searcher.errors import PoolError
from searcher.mergekit.configuration import Configuration, Input, OutputSlice
from searcher.mergekit.merge_model import MergeModel
from searcher.mergekit.model_reference import ModelReference
from searcher.mergekit.output_tensor import OutputTensor, Part, check_shapes, check_vocabularies
from searcher.pool.layout import block_key, build_layout

# Computed at load time; some checkpoints store them and some do not.
_COMPUTED = re.compile(r"rotary_emb\.inv_freq$|\.(attn|attention)\.(masked_)?bias$|\.?position_ids$")


def plan_outputs(
    configuration: Configuration, models: Mapping[ModelReference, MergeModel]
) -> tuple[list[OutputTensor], list[str]]:
    """All tensors of the result in network order, and the names of computed tensors that are left out.

    Raises:
        PoolError: If a source lacks a tensor or a layer, or the sources differ in shape.
        ConfigError: If layers are sliced of models that have more than one stack of them.
    """
    planner = _Planner(configuration, models)
    found = {output.name: output for output in planner.outputs()}
    order = [entry.name for entry in build_layout(dict.fromkeys(found, (1,)), {}).tensors]
    outputs = [found[name] for name in order]
    for output in outputs:
        check_shapes(output, align=configuration.tokenizer is not None)
    if configuration.tokenizer is None:
        check_vocabularies(outputs)
    return outputs, planner.left_out


class _Planner:
    """Goes through the slices of one configuration."""

    def __init__(self, configuration: Configuration, models: Mapping[ModelReference, MergeModel]) -> None:
        self._configuration, self._models = configuration, models
        self.left_out: list[str] = []

    def outputs(self) -> Iterator[OutputTensor]:
        """The tensors of the result, in no particular order."""
        first = self._configuration.slices[0]
        if not self._configuration.has_slices:
            yield from self._whole_models(first)
            return
        stack = self._only_stack()
        before, after = self._outside(stack)
        yield from self._tensors(first, ((name, self._same(first, name), 0.0) for name in before))
        depth = 0
        for output_slice in self._configuration.slices:
            yield from self._tensors(output_slice, self._sliced(output_slice, stack, depth))
            depth += _length(output_slice)
        last = self._configuration.slices[-1]
        yield from self._tensors(last, ((name, self._same(last, name), 0.0) for name in after))

    def _whole_models(self, output_slice: OutputSlice) -> Iterator[OutputTensor]:
        """Every tensor under its own name; depth is counted in each stack."""
        self._check_depths(output_slice)
        names = _union(self._model(one).stored for one in output_slice.inputs)
        last: dict[str, int] = {}
        for key in filter(None, map(block_key, names)):
            last[key[0]] = max(last.get(key[0], 0), key[1])
        wanted = ((name, self._same(output_slice, name), _depth(name, last)) for name in names)
        yield from self._tensors(output_slice, wanted)

    def _sliced(self, output_slice: OutputSlice, stack: str, depth: int) -> Iterator[tuple[str, list[str], float]]:
        """Output name, source names and depth of every tensor in the layers of one slice."""
        length = _length(output_slice)
        for step in range(length):
            layers = [self._layer(one, stack, step) for one in output_slice.inputs]
            prefixes = [
                f"{stack}.{_first(one) + step}." if stack else f"{_first(one) + step}." for one in output_slice.inputs
            ]
            out = f"{stack}.{depth + step}." if stack else f"{depth + step}."
            for rest in _union(layers):
                yield out + rest, [prefix + rest for prefix in prefixes], step / (length - 1) if length > 1 else 1.0

    def _tensors(
        self, output_slice: OutputSlice, wanted: Iterable[tuple[str, list[str], float]]
    ) -> Iterator[OutputTensor]:
        """Output tensors whose sources are all there."""
        for name, sources, t in wanted:
            parts = []
            for one, source in zip(output_slice.inputs, sources, strict=True):
                model = self._model(one)
                stored = source if source in model.stored else model.ties.get(source)
                if stored in model.stored:
                    parts.append(Part(one, model, source, str(stored)))
            if len(parts) == len(sources):
                yield OutputTensor(name, tuple(parts), output_slice, t)
            elif _COMPUTED.search(name):
                self.left_out.append(name)
            else:
                raise self._missing(name, output_slice, sources, parts)

    def _only_stack(self) -> str:
        """The stack of layers that all models have, and nothing besides."""
        for model, key in self._configuration.models().items():
            stacks = self._models[model].layers
            if len(stacks) != 1:
                listed = ", ".join(sorted(stacks)) or "none"
                raise PoolError(
                    f"Slices need models with one stack of layers, but this one has {len(stacks)} ({listed}).",
                    where=f"model {model.text}, {self._configuration.document.where(key)}",
                    fix="List the models under `models`, without layer ranges.",
                )
        names = {next(iter(self._models[model].layers)) for model in self._configuration.models()}
        if len(names) > 1:
            what = f"The models call their layers differently: {', '.join(sorted(names))}."
            raise PoolError(what, where=self._where(("slices",)), fix="Give models of one architecture.")
        return names.pop()

    def _outside(self, stack: str) -> tuple[list[str], list[str]]:
        """Names outside the layers: before the stack in the first slice, after it in the last."""
        first, last = self._configuration.slices[0], self._configuration.slices[-1]
        names = _union(self._model(one).stored for one in (*first.inputs, *last.inputs))
        order = [entry.name for entry in build_layout(dict.fromkeys(names, (1,)), {}).tensors]
        inside = [number for number, name in enumerate(order) if block_key(name) is not None]
        of_first = _union(self._model(one).stored for one in first.inputs)
        of_last = _union(self._model(one).stored for one in last.inputs)
        before = [name for name in order[: inside[0]] if name in of_first]
        after = [
            n for n in order[inside[-1] + 1 :] if n in of_last or all(n in self._model(one).ties for one in last.inputs)
        ]
        return before, after

    def _layer(self, one: Input, stack: str, step: int) -> Mapping[str, str]:
        """Names inside a layer of one input."""
        layers = self._model(one).layers[stack]
        number = _first(one) + step
        if number not in layers:
            raise PoolError(
                f"The model has no layer {number}; its layers are 0 to {max(layers)}.",
                where=self._where((*one.key, "layer_range")),
                fix=f"End the range at {max(layers) + 1} or before.",
            )
        return layers[number]

    def _check_depths(self, output_slice: OutputSlice) -> None:
        """Models of different depth would only be told by a missing tensor."""
        first, *others = output_slice.inputs
        ours = {stack: len(layers) for stack, layers in self._model(first).layers.items()}
        for other in others:
            theirs = {stack: len(layers) for stack, layers in self._model(other).layers.items()}
            differing = [s for s in ours.keys() & theirs.keys() if ours[s] != theirs[s] and self._are_layers(first, s)]
            if differing:
                stack = min(differing)
                raise PoolError(
                    f"{first.model.text} has {ours[stack]} layers, {other.model.text} has {theirs[stack]}.",
                    where=f"{self._where(other.key)}, tensors {stack}.*",
                    fix="Merge models of one depth, or give `slices` with equally long layer ranges.",
                )

    def _are_layers(self, one: Input, stack: str) -> bool:
        """Whether the numbers of a stack run from 0 without a gap."""
        layers = self._model(one).layers[stack]
        return sorted(layers) == list(range(len(layers)))

    def _missing(
        self, name: str, output_slice: OutputSlice, sources: Sequence[str], parts: Sequence[Part]
    ) -> PoolError:
        having = {id(part.input) for part in parts}
        pairs = zip(output_slice.inputs, sources, strict=True)
        lacking = [(one, source) for one, source in pairs if id(one) not in having]
        one, source = lacking[0]
        return PoolError(
            f"{one.model.text} has no tensor {source!r}, which other sources have.",
            where=f"{self._where(one.key)}, tensor {name}",
            fix="Merge models of one architecture, saved in one way (tied or untied head, same names).",
        )

    def _same(self, output_slice: OutputSlice, name: str) -> list[str]:
        return [name] * len(output_slice.inputs)

    def _model(self, one: Input) -> MergeModel:
        return self._models[one.model]

    def _where(self, key: tuple[str | int, ...]) -> str:
        return self._configuration.document.where(key)


def _depth(name: str, last: Mapping[str, int]) -> float:
    """Depth of a tensor in its stack, 0 to 1; 0 outside layers, 1 in a stack of one."""
    key = block_key(name)
    if key is None:
        return 0.0
    return key[1] / last[key[0]] if last[key[0]] else 1.0


def _length(output_slice: OutputSlice) -> int:
    first, stop = output_slice.inputs[0].layers or (0, 0)
    return stop - first


def _first(one: Input) -> int:
    return one.layers[0] if one.layers is not None else 0


def _union(groups: Iterable[Iterable[str]]) -> dict[str, None]:
    """All names, each once, in the order of their first appearance."""
    return {name: None for group in groups for name in group}

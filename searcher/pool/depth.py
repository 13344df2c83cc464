"""The parameter line of a model whose layers were chosen from a pool: other layers, another number of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from searcher.pool.layout import BlockKey, Layout, TensorEntry, block_key
from searcher.recipe import Recipe


@dataclass(frozen=True)
class Stack:
    """A parameter line as what lies before the layers, the layers, and what lies behind them.

    Args:
        prefix: What stands before the layer's number in names, such as ``model.layers``.
        before: Tensors before the layers.
        layers: Tensors of each layer, in the order of the line.
        after: Tensors behind the layers.
        layout: The whole line.
    """

    prefix: str
    before: tuple[TensorEntry, ...]
    layers: tuple[tuple[TensorEntry, ...], ...]
    after: tuple[TensorEntry, ...]
    layout: Layout

    def name(self, layer: int, local: str) -> str:
        """Name of a layer's tensor from its name inside the layer."""
        return f"{self.prefix}.{layer}{local}" if self.prefix else f"{layer}{local}"

    def local(self, name: str) -> str:
        """Name inside the layer, with its leading dot: ``.mlp.down_proj.weight``; empty for a bare number."""
        start = len(self.prefix) + 1 if self.prefix else 0
        return name[start:].lstrip("0123456789")

    def at_depth(self, layers: Sequence[int]) -> BuiltLine:
        """The line of a model with these layers, in this order; each may come several times.

        Raises:
            ValueError: If there is no layer, or a number that the stack does not have.
        """
        wrong = [layer for layer in layers if not 0 <= layer < len(self.layers)]
        if wrong or not layers:
            raise ValueError(f"Expected layers from 0 to {len(self.layers) - 1}, at least one, but got {list(layers)}.")
        inside = [(self._moved(t, depth), t) for depth, layer in enumerate(layers) for t in self.layers[layer]]
        pairs = [*((t, t) for t in self.before), *inside, *((t, t) for t in self.after)]
        entries, offset = [], 0
        for entry, _ in pairs:
            entries.append(replace(entry, offset=offset))
            offset += entry.size
        return BuiltLine(Layout(tuple(entries), self.layout.tied), tuple(origin for _, origin in pairs))

    def _moved(self, tensor: TensorEntry, depth: int) -> TensorEntry:
        return replace(tensor, name=self.name(depth, self.local(tensor.name)), block=depth)


@dataclass(frozen=True)
class BuiltLine:
    """A built model's parameter line.

    Args:
        layout: The line.
        origins: For each of its tensors, the pool's tensor that it comes from.
    """

    layout: Layout
    origins: tuple[TensorEntry, ...]


def find_stack(layout: Layout) -> Stack:
    """The one stack of layers of a parameter line.

    Raises:
        ValueError: If there is none, or several, or its layers have different tensors or share some.
    """
    keyed = [(entry, key) for entry in layout.tensors if (key := block_key(entry.name)) is not None]
    prefixes = sorted({prefix for _, (prefix, _) in keyed})
    if len(prefixes) != 1:
        raise ValueError(f"Expected models with one stack of layers, but these have {len(prefixes)}: {prefixes}.")
    by_number: dict[int, list[TensorEntry]] = {}
    for entry, (_, number) in keyed:
        by_number.setdefault(number, []).append(entry)
    if sorted(by_number) != list(range(len(by_number))):
        raise ValueError(f"Expected layers numbered 0, 1, ..., but got {sorted(by_number)}.")
    first, last = keyed[0][0].offset, keyed[-1][0].stop
    stack = Stack(
        prefixes[0],
        tuple(t for t in layout.tensors if t.block is None and t.offset <= first),
        tuple(tuple(by_number[number]) for number in sorted(by_number)),
        tuple(t for t in layout.tensors if t.block is None and t.offset >= last),
        layout,
    )
    _check_alike(stack)
    return stack


def built_layout(recipe: Recipe, layout: Layout) -> Layout:
    """The parameter line that a recipe's boundaries lie on: the pool's, or that of its own layers.

    Raises:
        ValueError: If the pool's models have no such layers.
    """
    if recipe.layers is None:
        return layout
    return find_stack(layout).at_depth([layer for _, layer in recipe.layers]).layout


def check_same_shapes(stack: Stack) -> None:
    """Refuse layers of which the tensors have different shapes: the module has one shape for all.

    Raises:
        ValueError: If a shape differs; the tensor is named.
    """
    for layer in stack.layers[1:]:
        for ours, theirs in zip(stack.layers[0], layer, strict=True):
            if ours.shape != theirs.shape:
                expected = f"{ours.name} of shape {list(ours.shape)}"
                raise ValueError(f"Expected layers of equal shapes, but {theirs.name} has not that of {expected}.")


def _check_alike(stack: Stack) -> None:
    names = [tuple(stack.local(t.name) for t in layer) for layer in stack.layers]
    for number, found in enumerate(names):
        if found != names[0]:
            differing = sorted(set(found) ^ set(names[0]))[:3]
            raise ValueError(f"Expected layers with equal tensors, but layers 0 and {number} differ in {differing}.")
    inside = {t.name for layer in stack.layers for t in layer}
    keys: set[BlockKey | None] = {block_key(alias) for alias in stack.layout.tied}
    if (keys != {None} and keys) or inside & set(stack.layout.tied.values()):
        raise ValueError("Expected layers with tensors of their own, but some share them.")

"""Parameter lines of other depths."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.pool.depth import built_layout, check_same_shapes, find_stack
from searcher.pool.layout import build_layout
from searcher.recipe import Recipe
from tests.spaces.test_every_space import make_layout

SHAPES = {"embed.weight": (5, 2), "norm.weight": (2,), "head.weight": (5, 2)} | {
    f"model.h.{layer}.{name}": shape for layer in range(12) for name, shape in (("mlp.w1", (3, 2)), ("ln_1.bias", (2,)))
}


def test_a_line_is_taken_apart_and_put_together_again() -> None:
    layout = build_layout(SHAPES, {})
    stack = find_stack(layout)
    assert stack.prefix == "model.h"
    assert [t.name for t in stack.before] == ["embed.weight"]
    assert [t.name for t in stack.after] == ["norm.weight", "head.weight"]
    assert [stack.local(t.name) for t in stack.layers[11]] == [".ln_1.bias", ".mlp.w1"]
    assert stack.at_depth(range(12)).layout == layout
    assert stack.at_depth(range(12)).origins == layout.tensors


def test_layers_are_renumbered_and_remember_where_they_are_from() -> None:
    layout = build_layout(SHAPES, {})
    line = find_stack(layout).at_depth([11, 0, 0])
    assert [t.name for t in line.layout.tensors][1:4] == [
        "model.h.0.ln_1.bias",
        "model.h.0.mlp.w1",
        "model.h.1.ln_1.bias",
    ]
    assert [t.name for t in line.origins][1:4] == ["model.h.11.ln_1.bias", "model.h.11.mlp.w1", "model.h.0.ln_1.bias"]
    assert line.layout == build_layout({t.name: t.shape for t in line.layout.tensors}, {})


def test_names_may_begin_with_the_number() -> None:
    layout = build_layout({f"{n}.{leaf}": (2,) for n in range(3) for leaf in ("weight", "bias")}, {})
    line = find_stack(layout).at_depth([2])
    assert [(t.name, t.block) for t in line.layout.tensors] == [("0.bias", 0), ("0.weight", 0)]


def test_layers_of_other_sizes_give_a_line_but_no_module() -> None:
    stack = find_stack(make_layout())
    assert stack.at_depth([2, 2]).layout.n_parameters == 7 + 2 * 3 * 7 + 2 + 7
    with pytest.raises(ValueError, match=r"layers\.1\.attention has not that of layers\.0\.attention"):
        check_same_shapes(stack)


WRONG = {
    "no layers": ({"embed.weight": (2,)}, {}, "have 0"),
    "two stacks": ({"a.0.w": (2,), "b.0.w": (2,)}, {}, "have 2"),
    "numbers": ({"a.0.w": (2,), "a.2.w": (2,)}, {}, "numbered 0, 1"),
    "other tensors": ({"a.0.w": (2,), "a.1.v": (2,)}, {}, r"layers 0 and 1 differ in \['.v', '.w'\]"),
    "shared": ({"a.0.w": (2,), "a.1.v": (2,), "a.0.v": (2,)}, {"a.1.w": "a.0.w"}, "differ"),
    "shared by all": ({"a.0.w": (2,), "a.1.w": (2,)}, {"a.0.v": "a.0.w", "a.1.v": "a.1.w"}, "some share them"),
    "shared with the head": ({"a.0.w": (2,), "a.1.w": (2,)}, {"head.weight": "a.1.w"}, "some share them"),
}


@pytest.mark.parametrize(("shapes", "tied", "words"), WRONG.values(), ids=WRONG)
def test_what_is_no_stack(shapes: dict[str, tuple[int, ...]], tied: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        find_stack(build_layout(shapes, tied))


@pytest.mark.parametrize("layers", [[], [12], [-1]])
def test_layers_that_are_not_there(layers: list[int]) -> None:
    with pytest.raises(ValueError, match="Expected layers from 0 to 11, at least one"):
        find_stack(build_layout(SHAPES, {})).at_depth(layers)


def test_recipes_without_layers_keep_the_line() -> None:

    layout = build_layout(SHAPES, {})
    borders, row = np.array([0, layout.n_parameters]), np.ones((1, 1))
    assert built_layout(Recipe("linear", ("a",), None, borders, row), layout) is layout
    assert built_layout(Recipe("linear", ("a",), None, borders, row, {}, (("a", 3),)), layout).n_blocks == 1

from __future__ import annotations

import pytest
import torch

from searcher.errors import PoolError
from searcher.merge.binding import bind_module
from searcher.pool.layout import Layout, TensorEntry


class Block(torch.nn.Module):
    """A model whose checkpoints may leave out the prefix of the inner model."""

    base_model_prefix = "inner"

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(2, 3)


def layout_of(shapes: dict[str, tuple[int, ...]], tied: dict[str, str] | None = None) -> Layout:
    entries, offset = [], 0
    for name, shape in shapes.items():
        entries.append(TensorEntry(name, shape, offset, torch.Size(shape).numel(), None, "other"))
        offset = entries[-1].stop
    return Layout(tuple(entries), tied or {})


@pytest.mark.parametrize("prefix", ["inner.", ""])
def test_names_with_and_without_the_prefix(prefix: str) -> None:
    module, weights = Block(), torch.arange(9.0)
    bind_module(module, layout_of({f"{prefix}bias": (3,), f"{prefix}weight": (3, 2)}), weights)
    assert module.inner.bias.tolist() == [0, 1, 2]
    assert module.inner.weight.flatten().tolist() == [3, 4, 5, 6, 7, 8]
    weights += 1
    assert module.inner.bias.tolist() == [1, 2, 3]


def test_the_prefix_may_stand_in_the_files_alone() -> None:
    module = torch.nn.Linear(2, 3)
    module.base_model_prefix = "model"  # type: ignore[assignment]
    bind_module(module, layout_of({"model.bias": (3,), "model.weight": (3, 2)}), torch.zeros(9))
    assert module.bias.tolist() == [0, 0, 0]


def test_a_parameter_that_no_file_stores() -> None:
    with pytest.raises(PoolError, match=r"'inner\.bias' that no source file stores"):
        bind_module(Block(), layout_of({"inner.weight": (3, 2)}), torch.zeros(6))


def test_a_parameter_of_another_shape() -> None:
    with pytest.raises(PoolError, match=r"shape \(3, 2\) but the files store \(2, 3\)"):
        bind_module(Block(), layout_of({"inner.weight": (2, 3), "inner.bias": (3,)}), torch.zeros(9))


def test_ends_in_evaluation_mode_without_gradients() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout())
    bind_module(module, layout_of({"0.weight": (1, 1), "0.bias": (1,)}), torch.zeros(2, dtype=torch.bfloat16))
    assert not any(part.training for part in module.modules())
    assert not any(p.requires_grad for p in module.parameters())
    assert {p.dtype for p in module.parameters()} == {torch.bfloat16}


def test_aliases_of_the_layout_tie_separate_parameters() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2, bias=False))
    bind_module(module, layout_of({"0.weight": (2, 2)}, {"1.weight": "0.weight"}), torch.arange(4.0))
    first, second = module.parameters()
    assert first.data_ptr() == second.data_ptr()

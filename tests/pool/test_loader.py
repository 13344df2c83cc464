"""Choice of loader, and what is learnt from a module."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from searcher.errors import PoolError
from searcher.pool.loader import make_loader, skeleton_of


@pytest.mark.parametrize("name", ["", "torch", "python", "Transformers", "pickle:module:function"])
def test_unknown_loader_is_refused(name: str) -> None:
    with pytest.raises(PoolError, match="no loader") as caught:
        make_loader(name, trust_remote_code=False, root=Path())
    assert caught.value.where == "pool.loader"


def test_skeleton_of_a_module_with_shared_weights() -> None:
    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Embedding(5, 3)
            self.norm = torch.nn.BatchNorm1d(3)
            self.head = torch.nn.Linear(3, 5, bias=False)
            self.head.weight = self.embed.weight

    skeleton = skeleton_of(Network())
    assert skeleton.tied == {"head.weight": "embed.weight"}
    assert skeleton.orientation == {"head.weight": False}
    assert "norm.running_mean" in skeleton.shapes
    assert "norm.num_batches_tracked" not in skeleton.shapes

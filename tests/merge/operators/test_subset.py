from __future__ import annotations

import torch

from searcher.merge.operators.subset import among, taking_part
from tests.merge.merging import draw, facts_of


def test_models_with_a_coefficient_take_part() -> None:
    assert taking_part((0.0, -1.0, 0.0, 2.0)) == (1, 3)
    assert taking_part((0.0, 0.0)) == ()


def test_all_models_are_the_facts_themselves() -> None:
    facts = facts_of(draw(4), [draw(4, seed=1), draw(4, seed=2)])
    assert among(facts, (0, 1)) is facts


def test_some_models() -> None:
    base, models = draw(4), [draw(4, seed=k) for k in (1, 2, 3)]
    found = among(facts_of(base, models, names="abc"), (0, 2))
    assert found.models == ("a", "c")
    assert torch.equal(found.base(), base)
    assert torch.equal(found.weights(1), models[2])
    assert torch.equal(found.task_vector(0), models[0] - base)
    assert found.is_delta == (False, False)

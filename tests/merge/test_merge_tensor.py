"""One tensor of any shape, type and layout, by every operator."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.base import OPERATORS, make_operator
from tests.merge.merging import OURS, SETTINGS

SHAPES = [(), (0,), (1,), (7,), (3, 5), (5, 0, 2), (1, 1), (2, 3, 4), (2, 1, 3, 2), (16, 33)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


def n_models(operator: str) -> int:
    low, high = OPERATORS.get(operator).n_models
    return max(low, min(3, high or 3))


def conventions(operator: str) -> list[str]:
    return ["paper", "mergekit"] if "convention" in OPERATORS.get(operator).settings() else [""]


@pytest.mark.parametrize("operator", OURS)
@settings(max_examples=25)
@given(data=st.data())
def test_shape_type_and_layout_do_not_matter(operator: str, data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from(SHAPES))
    n = n_models(operator)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 9)))
    dtypes = data.draw(st.lists(st.sampled_from(DTYPES), min_size=n + 1, max_size=n + 1))
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64).to(d) for d in dtypes]
    chosen = dict(SETTINGS.get(operator, {}))
    if convention := data.draw(st.sampled_from(conventions(operator))):
        chosen["convention"] = convention
    made = make_operator(operator, chosen)
    coefficients = [0.5, 0.25, 0.75][:n]
    strided = [_strided(t) for t in tensors] if data.draw(st.booleans()) else tensors
    merged = merge_tensor(made, coefficients, strided[1:], base=strided[0], name="t")
    assert merged.shape == shape
    assert merged.dtype == dtypes[0]  # the base's
    assert torch.isfinite(merged.double()).all()
    plain = [t.float().contiguous() for t in tensors]
    expected = merge_tensor(made, coefficients, plain[1:], base=plain[0], name="t", dtype=torch.float32)
    assert torch.equal(merged.double(), expected.to(merged.dtype).double())


def _strided(tensor: torch.Tensor) -> torch.Tensor:
    """The same values, not contiguous where the shape allows."""
    return tensor.t().contiguous().t() if tensor.dim() == 2 else torch.stack([tensor, tensor], dim=-1)[..., 0]


def test_large_tensors_take_compiled_kernels_with_the_same_result() -> None:
    generator = torch.Generator().manual_seed(0)
    base, *models = (torch.randn(1 << 20, generator=generator) for _ in range(3))
    operator = make_operator("task_arithmetic", {})
    large = merge_tensor(operator, [0.3, 0.4], models, base=base)
    small = [
        merge_tensor(operator, [0.3, 0.4], [m[i : i + 1000] for m in models], base=base[i : i + 1000]) for i in (0, 99)
    ]
    assert torch.equal(large[:1000], small[0])
    assert torch.equal(large[99:1099], small[1])


@pytest.mark.parametrize(
    ("models", "coefficients", "base", "words"),
    [
        ([torch.zeros(2), torch.zeros(3)], [1.0, 1.0], torch.zeros(2), "one shape"),
        ([torch.zeros(2)], [1.0, 1.0], torch.zeros(2), "one coefficient per model"),
        ([torch.zeros(2)], [1.0], None, "base"),
        ([], [], torch.zeros(2), "models"),
    ],
)
def test_what_does_not_fit_is_refused(
    models: list[torch.Tensor], coefficients: list[float], base: torch.Tensor | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        merge_tensor(make_operator("ties", {}), coefficients, models, base=base)

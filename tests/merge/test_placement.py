from __future__ import annotations

import pytest
import torch

from searcher.errors import ConfigError
from searcher.merge.placement import DTYPES, device_of, dtype_of, is_finite


def test_auto_is_a_device_that_exists() -> None:
    assert device_of("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device_of("cpu") == "cpu"


@pytest.mark.parametrize("name", ["cuda:99", "abacus", ""])
def test_a_device_that_does_not_exist_is_refused_where_it_was_named(name: str) -> None:
    with pytest.raises(ConfigError, match=r"pool\.device"):
        device_of(name)
    with pytest.raises(ConfigError, match="--device"):
        device_of(name, where="--device")


@pytest.mark.parametrize("widest", ["float64", "float32", "bfloat16", "float16"])
def test_the_storage_type_is_the_widest_or_what_is_asked_for(widest: str) -> None:
    assert dtype_of(widest, None) == DTYPES.get(widest, torch.float32)
    for name, dtype in DTYPES.items():
        assert dtype_of(widest, name) == dtype


@pytest.mark.parametrize("name", ["float64", "int8"])
def test_other_storage_types_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' is not supported"):
        dtype_of("float32", name)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("position", [0, 70, 100])
def test_is_finite(dtype: torch.dtype, bad: float, position: int) -> None:
    weights = torch.full((101,), torch.finfo(dtype).max, dtype=dtype)
    assert is_finite(weights)
    weights[position] = bad
    assert not is_finite(weights)

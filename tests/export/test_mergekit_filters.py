from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from searcher.export.mergekit_filters import resolve, setting_for

LOCALS = ["self_attn.q.weight", "self_attn.k.weight", "mlp.up.weight", "norm.weight"]
IN_BLOCKS = {f"layers.{block}.{local}": local for block in (0, 1, 10) for local in LOCALS}
OUTSIDE = ["embed.weight", "pos_embed.weight", "norm.weight", "weight", "head.mlp.weight"]  # names inside other names
NAMES = [*IN_BLOCKS, *OUTSIDE]


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=len(NAMES), max_size=len(NAMES)))
def test_every_tensor_gets_its_value(values: list[float]) -> None:
    wanted = dict(zip(NAMES, values, strict=True))
    setting = setting_for(wanted, IN_BLOCKS)
    if isinstance(setting, float):
        assert set(values) == {setting}
    else:
        assert {name: resolve(setting, name) for name in NAMES} == wanted


def test_one_value_is_a_bare_number() -> None:
    assert setting_for({"a": 0.5, "b": 0.5}, {}) == 0.5


def test_modules_are_filtered_by_their_short_name() -> None:
    values = {name: 0.25 if local.startswith("mlp") else 0.75 for name, local in IN_BLOCKS.items()}
    assert setting_for(values, IN_BLOCKS) == [{"filter": "mlp", "value": 0.25}, {"value": 0.75}]


def test_a_tensor_kind_is_filtered_by_its_name_inside_the_block() -> None:
    values = {name: 0.25 if local.startswith("self_attn.q") else 0.75 for name, local in IN_BLOCKS.items()}
    assert setting_for(values, IN_BLOCKS) == [{"filter": "self_attn.q.weight", "value": 0.25}, {"value": 0.75}]


def test_one_block_is_filtered_by_full_names() -> None:
    values = {name: 0.25 if name.startswith("layers.1.mlp") else 0.75 for name in IN_BLOCKS}
    assert setting_for(values, IN_BLOCKS) == [{"filter": "layers.1.mlp.up.weight", "value": 0.25}, {"value": 0.75}]


def test_the_first_matching_filter_counts_and_nothing_matches_nothing() -> None:
    assert resolve([{"filter": "mlp", "value": 1.0}, {"filter": "mlp.up", "value": 2.0}], "x.mlp.up") == 1.0
    assert resolve([{"filter": "mlp", "value": 1.0}], "attention") is None

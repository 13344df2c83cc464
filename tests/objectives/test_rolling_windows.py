"""Texts in windows, against lm-eval's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.language.requests import Continuation
from searcher.objectives.rolling_windows import UNKNOWN_CONTEXT, context_length, rolling_windows


def flat(windows: list[Continuation]) -> list[int]:
    return [token for w in windows for token in w.continuation]


@given(n=st.integers(1, 60), window=st.integers(1, 20), data=st.data())
def test_every_token_is_scored_once_after_what_stood_before_it(n: int, window: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, window))
    text = list(range(100, 100 + n))
    windows = rolling_windows(text, 7, window, stride)
    assert flat(windows) == text
    whole = [7, *text]
    for number, w in enumerate(windows):
        assert len(w.tokens) <= window + 1
        end = whole.index(w.tokens[-1]) + 1
        assert list(w.tokens) == whole[end - len(w.tokens) : end]
        if number:
            assert len(w.context) >= window - stride + 1


@given(n=st.integers(1, 60), window=st.integers(1, 20), data=st.data())
def test_windows_are_those_of_lm_eval(n: int, window: int, data: st.DataObject) -> None:
    utils = pytest.importorskip("lm_eval.utils", reason="lm-eval is not installed")
    stride = data.draw(st.integers(1, window))
    text = list(range(100, 100 + n))
    context_len = window - stride + 1
    theirs = map(utils.make_disjoint_window, utils.get_rolling_token_windows(text, 7, window, context_len))
    ours = rolling_windows(text, 7, window, stride)
    assert [(list(w.context), list(w.continuation)) for w in ours] == [(list(a), list(b)) for a, b in theirs]


CONFIGS: list[tuple[Any, int]] = [
    (SimpleNamespace(max_position_embeddings=512), 512),
    (SimpleNamespace(n_positions=1024, max_position_embeddings=512), 1024),
    (SimpleNamespace(text_config=SimpleNamespace(n_ctx=77)), 77),
    (SimpleNamespace(max_position_embeddings=None), UNKNOWN_CONTEXT),
    (None, UNKNOWN_CONTEXT),
]


@pytest.mark.parametrize(("config", "expected"), CONFIGS)
def test_context_length(config: Any, expected: int) -> None:
    assert context_length(SimpleNamespace(config=config)) == expected  # type: ignore[arg-type]

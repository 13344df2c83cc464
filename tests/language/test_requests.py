from __future__ import annotations

import pytest

from searcher.errors import UnknownNameError
from searcher.language.huggingface import HuggingFaceRunner
from searcher.language.requests import Continuation, Prompt
from searcher.language.runner import RUNNERS, make_runner


@pytest.mark.parametrize(("context", "continuation"), [((), (1,)), ((1,), ())])
def test_nothing_may_be_empty(context: tuple[int, ...], continuation: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        Continuation(context, continuation)


@pytest.mark.parametrize(
    ("tokens", "n", "stop", "match"),
    [((), 1, (), "at least one token"), ((1,), 0, (), "at least one"), ((1,), 1, ("",), "at least one character")],
)
def test_prompts_are_checked(tokens: tuple[int, ...], n: int, stop: tuple[str, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Prompt(tokens, n, stop)


def test_runners_by_name() -> None:
    assert RUNNERS.names() == ("huggingface", "vllm")
    assert isinstance(make_runner(), HuggingFaceRunner)
    with pytest.raises(UnknownNameError, match="huggingface"):
        make_runner("hugingface")
    with pytest.raises(ValueError, match="at least 1"):
        make_runner(max_tokens=0)

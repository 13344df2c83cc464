"""Generated text and its scores against plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.errors import CandidateError, ConfigError
from searcher.merge.live_model import LiveModel
from searcher.objectives.generation import Generation
from tests.language.tiny_llama import live_llama
from tests.objectives.plain_language import PlainModel, encode, texts, write_jsonl

N = 8
QUESTIONS = texts(N, longest=12)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LiveModel:
    return live_llama(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def written(model: LiveModel) -> list[str]:
    """What the model writes after each question, at most ten tokens."""
    plain, end = PlainModel(model), model.tokenizer.eos_token_id
    tokens = [plain.written(encode(model, f"Q: {q}\nA:"), 10, end) for q in QUESTIONS]
    return [model.tokenizer.decode(t, skip_special_tokens=True) for t in tokens]


@pytest.fixture
def data(tmp_path: Path, written: list[str]) -> Path:
    """The answers are what the model writes, but for every second one."""
    answers = [text.strip() if i % 2 else "nothing" for i, text in enumerate(written)]
    return write_jsonl(
        tmp_path / "prompts.jsonl", [{"q": q, "answer": a} for q, a in zip(QUESTIONS, answers, strict=True)]
    )


def made(data: Path, **settings: Any) -> Generation:
    chosen: dict[str, Any] = {"prompt": "Q: {q}\nA:", "max_new_tokens": 10, **settings}
    return Generation("mine", data={"search": data}, root=data.parent, **chosen)


def test_the_function_is_given_what_the_model_writes(model: LiveModel, data: Path, written: list[str]) -> None:
    given = []

    def score(text: str, fields: dict[str, str]) -> float:
        given.append((fields["q"], text))
        return len(text) / 7

    found = made(data, function=score, direction="minimize", unit="letters").evaluate(model, None, 0)
    assert given == list(zip(QUESTIONS, written, strict=True))
    np.testing.assert_allclose(found.example_scores, [len(text) / 7 for text in written])  # type: ignore[arg-type]
    assert found.value == pytest.approx(np.mean([len(text) / 7 for text in written]))
    assert found.stderr > 0


def test_a_pattern_compares_with_the_reference(model: LiveModel, data: Path) -> None:
    objective = made(data, regex=r"(?s).*")
    found = objective.evaluate(model, None, 0)
    np.testing.assert_array_equal(found.example_scores, [i % 2 for i in range(N)])
    assert (objective.unit, objective.direction) == ("fraction", "maximize")
    assert objective.score_range == (0.0, 1.0)
    assert made(data, function=lambda text, fields: 0).score_range is None


def test_stop_texts_end_the_answer(model: LiveModel, data: Path, written: list[str]) -> None:
    stop = next(text[3] for text in written if len(text) > 3)
    given = []

    def score(text: str, fields: dict[str, str]) -> float:
        given.append(text)
        return 0.0

    made(data, function=score, stop=[stop]).evaluate(model, None, 0)
    assert given == [text.split(stop)[0] for text in written]


def test_a_part_is_a_stretch_of_the_whole(model: LiveModel, data: Path) -> None:
    objective = made(data, regex=r"(?s).*")
    whole, part = objective.evaluate(model, None, 0), objective.evaluate(model, slice(3, 6), 0)
    assert whole.example_scores is not None
    np.testing.assert_array_equal(part.example_scores, whole.example_scores[3:6])


def test_chat_and_worked_examples(model: LiveModel, data: Path) -> None:
    from searcher.language.text_encoder import TextEncoder

    shots = write_jsonl(data.parent / "shots.jsonl", [{"q": "one", "answer": "1"}])
    objective = made(data, function=lambda text, fields: 0, few_shot=shots, chat=True, prompt="{q}")
    prompt = objective.encode(TextEncoder.of(model), model)[0]
    turns = [("user", "one"), ("assistant", "1"), ("user", QUESTIONS[0])]
    expected = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + "<|im_start|>assistant\n"
    assert model.tokenizer.decode(prompt.tokens) == expected
    assert prompt.max_new_tokens == 10
    assert set(objective.files) == {data, shots, Path(__file__)}


def test_a_failing_function_fails_the_candidate(model: LiveModel, data: Path) -> None:
    with pytest.raises(CandidateError, match="line 1: the function raised ZeroDivisionError"):
        made(data, function=lambda text, fields: 1 / 0).evaluate(model, None, 0)


BAD: list[tuple[str, dict[str, Any]]] = [
    ("neither", {}),
    ("both", {"regex": "x", "function": lambda text, fields: 0}),
    ("no field 'right'", {"regex": "x", "reference_key": "right"}),
    ("no field 'z'", {"regex": "x", "prompt": "{z}"}),
    ("prompt is empty", {"regex": "x", "prompt": ""}),
    ("max_new_tokens of at least 1", {"regex": "x", "max_new_tokens": 0}),
    ("stop text is empty", {"regex": "x", "stop": ["a", ""]}),
    ("does not exist", {"function": "nowhere.py:score"}),
]


@pytest.mark.parametrize(("problem", "settings"), BAD)
def test_bad_settings(data: Path, problem: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        made(data, **settings)
    assert caught.value.where.startswith("objective 'mine'")

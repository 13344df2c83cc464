"""Templates, worked examples and chats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from searcher.errors import ConfigError
from searcher.language.text_encoder import TextEncoder
from searcher.objectives.prompt_format import Template, make_prompt_format
from searcher.objectives.text_data import Record
from tests.language.tiny_llama import tokenizer


def record(**fields: object) -> Record:
    return Record(fields, "a.jsonl, line 3")


def test_values_are_taken_as_they_are() -> None:
    template = Template("Q: {q}\n{{A}}: {n}", where="here")
    assert template.fill(record(q="{n} {{", n=4)) == "Q: {n} {{\n{A}: 4"


def test_names_may_stand_for_other_fields() -> None:
    assert Template("{question}!", keys={"question": "q"}).fill(record(q="why", question="no")) == "why!"


@pytest.mark.parametrize("text", ["{", "}", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:5}", "{a b}"])
def test_malformed_templates(text: str) -> None:
    with pytest.raises(ConfigError, match="template cannot be used") as caught:
        Template(text, where="objective 'qa', prompt")
    assert caught.value.where == "objective 'qa', prompt"


def test_a_missing_field_names_file_and_line() -> None:
    with pytest.raises(ConfigError, match="no field 'a'") as caught:
        Template("{a}", where="objective 'qa', prompt").fill(record(b=1))
    assert caught.value.where == "objective 'qa', prompt, a.jsonl, line 3"


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    (tmp_path / "shots.jsonl").write_text('{"q": "1+1", "a": 2}\n{"q": "2+2", "a": "4"}\n', encoding="utf-8")
    return tmp_path


def test_worked_examples_stand_before_the_prompt(shots: Path) -> None:
    made = make_prompt_format("Q: {q}\nA:", " {a}", few_shot=Path("shots.jsonl"), root=shots)
    encoder = TextEncoder(tokenizer())
    assert made.context("Q: 3\nA:", encoder) == "Q: 1+1\nA: 2\n\nQ: 2+2\nA: 4\n\nQ: 3\nA:"
    one = make_prompt_format("Q: {q}\nA:", " {a}", few_shot=shots / "shots.jsonl", n_shots=1)
    assert one.context("x", encoder) == "Q: 1+1\nA: 2\n\nx"


def test_a_chat_has_turns(shots: Path) -> None:
    made = make_prompt_format(
        "{q}", "{a}", chat=True, system="Be brief.", few_shot=Path("shots.jsonl"), n_shots=1, root=shots
    )
    turns = [("system", "Be brief."), ("user", "1+1"), ("assistant", "2"), ("user", "3")]
    expected = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + "<|im_start|>assistant\n"
    assert made.context("3", TextEncoder(tokenizer())) == expected


BAD: list[tuple[str, dict[str, Any]]] = [
    ("needs a chat", {"system": "x"}),
    ("Expected 3 worked examples, at least 1, but found 2", {"few_shot": Path("shots.jsonl"), "n_shots": 3}),
    ("Expected 0 worked", {"few_shot": Path("shots.jsonl"), "n_shots": 0}),
    ("Expected 2 worked examples, at least 1, but found 0", {"n_shots": 2}),
    ("cannot be read", {"few_shot": Path("none.jsonl")}),
    ("Expected 1 worked", {"few_shot": Path("empty.jsonl")}),
    ("no field 'z'", {"prompt": "{z}", "few_shot": Path("shots.jsonl")}),
]


@pytest.mark.parametrize(("problem", "settings"), BAD)
def test_bad_settings(shots: Path, problem: str, settings: dict[str, Any]) -> None:
    (shots / "empty.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=problem):
        make_prompt_format(settings.pop("prompt", "{q}"), "{a}", root=shots, where="objective 'qa'", **settings)

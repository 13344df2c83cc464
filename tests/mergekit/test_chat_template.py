"""Chat templates by text, by name and by majority."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jinja2
import pytest

from searcher.mergekit.chat_template import NAMED
from tests.mergekit.conftest import Merge
from tests.mergekit.tiny_models import llama_config, llama_shapes, weights, write_model

TALK = [("system", "Be nice."), ("user", "Hi "), ("assistant", "Hello"), ("user", "Bye")]
LINEAR = "merge_method: linear\nmodels: [{model: a}, {model: b}, {model: c}]\nparameters: {weight: 1}\n"


def rendered(template: str, *, prompt: bool) -> str:
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)  # as transformers has it
    messages = [{"role": role, "content": text} for role, text in TALK]
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    return environment.from_string(template).render(messages=messages, add_generation_prompt=prompt, **tokens)


@pytest.mark.parametrize(
    ("name", "expected", "prompt"),
    [
        ("chatml", ("<|im_start|>system\nBe nice.<|im_end|>\n<|im_start|>user\nHi <|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
         "<|im_start|>user\nBye<|im_end|>\n"), "<|im_start|>assistant\n"),
        ("exaone", "[|system|]Be nice.[|endofturn|]\n[|user|]Hi \n[|assistant|]Hello[|endofturn|]\n[|user|]Bye\n", "[|assistant|]"),
        ("mistral", "<s> [INST] Be nice.\n\nHi  [/INST] Hello</s> [INST] Bye [/INST]", ""),
        ("alpaca", "Be nice.\n\n### Instruction:\nHi\n\n### Response:\nHello\n\n### Instruction:\nBye", "\n\n### Response:\n"),
        ("llama3", ("<s><|start_header_id|>system<|end_header_id|>\n\nBe nice.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
         "Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
         "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"), "<|start_header_id|>assistant<|end_header_id|>\n\n"),
    ],
)  # fmt: skip
def test_named_templates_write_their_format(name: str, expected: str, prompt: str) -> None:
    assert rendered(NAMED[name], prompt=False) == expected
    assert rendered(NAMED[name], prompt=True) == expected + prompt


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Models ``a``, ``b`` and ``c``; two of them have the same template, one of them in each of its two places."""
    for seed, name in enumerate("abc"):
        write_model(tmp_path / name, weights(llama_shapes(1, 40), seed), llama_config(1, 40))
    (tmp_path / "a" / "chat_template.jinja").write_text("{{ 'one' }}")
    (tmp_path / "b" / "chat_template.jinja").write_text("{{ 'two' }}\n")
    path = tmp_path / "c" / "tokenizer_config.json"
    named = [{"name": "tool", "template": "{{ 0 }}"}, {"name": "default", "template": "{{ 'two' }}"}]
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": named}))
    return tmp_path


def template_of(folder: Path) -> object:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder).chat_template


@pytest.mark.parametrize("tokenizer", ["", "tokenizer_source: base\n"])
@pytest.mark.parametrize(
    ("wanted", "expected"), [("", "{{ 'one' }}"), ("chat_template: auto\n", "{{ 'two' }}"), ("chat_template: chatml\n", NAMED["chatml"])]
)  # fmt: skip
def test_the_folder_has_the_template(wanted: str, expected: str, tokenizer: str, root: Path, merge: Merge) -> None:
    assert template_of(merge(root, LINEAR + wanted + tokenizer).folder) == expected


def test_a_template_in_the_tokenizer_config_is_replaced(root: Path, merge: Merge) -> None:
    shutil.rmtree(root / "a")
    shutil.copytree(root / "c", root / "a")
    text = "{{ messages | length }} messages"
    folder = merge(root, LINEAR + f"chat_template: '{text}'\n").folder
    assert template_of(folder) == text
    assert json.loads((folder / "tokenizer_config.json").read_text())["chat_template"] == text


def test_without_a_tokenizer_the_template_is_left_out(root: Path, merge: Merge) -> None:
    shutil.rmtree(root / "a")
    write_model(root / "a", weights(llama_shapes(1, 40), 0), llama_config(1, 40), tokens=None)
    summary = merge(root, LINEAR + "chat_template: chatml\n")
    assert not (summary.folder / "chat_template.jinja").exists()
    assert "no tokenizer files" in summary.warnings[0]

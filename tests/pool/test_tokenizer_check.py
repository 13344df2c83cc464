"""Models must give tokens the same numbers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from searcher.pool.checks import PoolMismatch
from searcher.pool.pool import open_pool

if TYPE_CHECKING:
    from tests.pool.conftest import TinyPool

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture
def pair(tiny_llama_pool: TinyPool, tmp_path: Path) -> Path:
    """A base and a model with one word-level tokenizer of 64 tokens."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {f"w{number}": number for number in range(63)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({**vocabulary, "<unk>": 63}, unk_token="<unk>")),
        unk_token="<unk>",
        chat_template=TEMPLATE,
    )
    for name, folder in (("base", tiny_llama_pool.base), ("model", tiny_llama_pool.models[0])):
        shutil.copytree(folder, tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    return tmp_path


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def swap(content: dict[str, Any]) -> None:
    vocabulary = content["model"]["vocab"]
    vocabulary["w3"], vocabulary["w4"] = 4, 3


def test_equal_tokenizers_fit_and_load(pair: Path) -> None:
    pool = open_pool(base="base", models=["model"], root=pair)
    assert pool.warnings == ()
    _, tokenizer = pool.load_module()
    assert tokenizer.convert_tokens_to_ids(["w7", "w62", "nonsense"]) == [7, 62, 63]
    assert "base/tokenizer.json" in pool.hashes


@pytest.mark.parametrize(
    ("change", "row"),
    [
        (lambda c: c["model"]["vocab"].pop("w9"), ("'w9'", "number 9", "missing")),
        (lambda c: c["model"]["vocab"].update(new=64), ("'new'", "missing", "number 64")),
        (swap, ("'w3'", "number 3", "number 4")),
        (
            lambda c: c["added_tokens"].append({"id": 5, "content": "<extra>", "special": True}),
            ("'<extra>'", "missing", "number 5"),
        ),
    ],
)
def test_other_numbers_are_refused(
    change: Callable[[dict[str, Any]], object], row: tuple[str, ...], pair: Path
) -> None:
    edit(pair / "model" / "tokenizer.json", change)
    with pytest.raises(PoolMismatch) as caught:
        open_pool(base="base", models=["model"], root=pair)
    line = next(line for line in caught.value.table.split("\n") if row[0] in line)
    assert all(cell in line for cell in row)
    assert "copy the base's tokenizer files" in caught.value.fix


def test_other_spacing_of_the_file_is_no_difference(pair: Path) -> None:
    edit(pair / "model" / "tokenizer.json", lambda content: None)
    assert open_pool(base="base", models=["model"], root=pair).warnings == ()


def test_other_chat_template_is_a_warning(pair: Path) -> None:
    assert (pair / "model" / "chat_template.jinja").read_text() == TEMPLATE
    (pair / "model" / "chat_template.jinja").write_text("other")
    (warning,) = open_pool(base="base", models=["model"], root=pair).warnings
    assert "chat template differs" in warning


def test_model_without_tokenizer_uses_the_reference(pair: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (pair / "model" / name).unlink()
    assert open_pool(base="base", models=["model"], root=pair).warnings == ()


def test_vocabulary_files_are_compared_without_tokenizer_json(pair: Path) -> None:
    for name, text in (("base", "a\nb\n"), ("model", "b\na\n")):
        (pair / name / "tokenizer.json").unlink()
        (pair / name / "vocab.txt").write_text(text)
    with pytest.raises(PoolMismatch) as caught:
        open_pool(base="base", models=["model"], root=pair)
    assert [finding.subject for finding in caught.value.findings] == ["vocab.txt"]

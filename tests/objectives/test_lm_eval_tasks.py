"""Loading tasks: which one a name means, and what is refused."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from searcher.errors import ConfigError
from searcher.objectives import lm_eval_index
from searcher.objectives.lm_eval_tasks import HarnessTask, load_task
from tests.objectives.lm_eval_reference import N_DOCUMENTS, TASKS, private_datasets

pytest.importorskip("lm_eval")

CHOICE = """
task: {name}
{extra}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: gold
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with private_datasets(tmp_path_factory.mktemp("datasets")):
        yield


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small folder in place of lm-eval's own tasks: the task ``known`` and a group of two."""
    folder = tmp_path / "registered"
    folder.mkdir()
    data = TASKS / "questions.jsonl"
    (folder / "known.yaml").write_text(CHOICE.format(name="known", extra="tag: some_tag", data=data), encoding="utf-8")
    (folder / "x.yaml").write_text(CHOICE.format(name="other_file", extra="", data=data), encoding="utf-8")
    (folder / "g.yaml").write_text("group: family\ntask:\n  - known\n  - other_file\n", encoding="utf-8")
    monkeypatch.setattr(lm_eval_index, "tasks_folder", lambda: folder)
    return folder


def load(name: str, root: Path = TASKS, **settings: Any) -> HarnessTask:
    return load_task(name, where=f"objective 'mine', task {name!r}", root=root, **settings)


def refused(name: str, root: Path = TASKS, **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(name, root, **settings)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "objective 'mine'" in lines[1]
    return str(caught.value)


@pytest.mark.parametrize("name", ["./choice.yaml", "choice.yaml", "always_zero/", "./always_zero"])
def test_a_local_task_is_loaded_from_any_working_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(load(name).task.eval_docs) == N_DOCUMENTS


def test_a_folder_of_many_tasks_needs_a_file_name() -> None:
    assert "choice.yaml" in refused("./")


def test_a_folder_without_tasks_is_refused(tmp_path: Path) -> None:
    assert "no task files" in refused("./", tmp_path)


def test_a_local_folder_does_not_shadow_a_task(
    registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does in lm-eval (its issue 3434: no tasks found)."""
    (tmp_path / "known").mkdir()
    monkeypatch.chdir(tmp_path)
    found = load("known", tmp_path)
    assert found.name == "known"
    assert any("./known" in warning for warning in found.warnings)
    assert "no task files" in refused("./known", tmp_path)


def test_a_local_folder_is_a_task_where_lm_eval_has_none(registered: Path) -> None:
    assert load("always_zero").name == "searcher_always_zero"


def test_a_folder_does_not_shadow_a_data_set(registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``load_dataset`` reads a folder of the working directory before it asks the Hub."""
    text = CHOICE.format(name="hub", extra="", data="").replace("dataset_path: json", "dataset_path: some/data")
    lines = [line for line in text.splitlines() if not line.startswith("dataset_kwargs")]
    (registered / "hub.yaml").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "some" / "data").mkdir(parents=True)
    (tmp_path / "some" / "data" / "test.jsonl").write_bytes((TASKS / "questions.jsonl").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert "'some/data'" in refused("hub", tmp_path)
    assert Path.cwd() == tmp_path


def test_unknown_names_get_the_nearest(registered: Path) -> None:
    message = refused("knwon")
    assert "Did you mean 'known'?" in message


@pytest.mark.parametrize(("name", "word"), [("family", "group"), ("some_tag", "tag")])
def test_groups_and_tags_are_refused(name: str, word: str, registered: Path) -> None:
    message = refused(name)
    assert f"{name!r} is a {word} of several tasks" in message
    assert "known" in message


def test_code_of_the_model_is_run_only_if_allowed(tmp_path: Path) -> None:
    text = CHOICE.format(name="unsafe", extra="unsafe_code: true", data=TASKS / "questions.jsonl")
    (tmp_path / "unsafe.yaml").write_text(text, encoding="utf-8")
    assert "allow_unsafe_code" in refused("unsafe.yaml", tmp_path)
    assert load("unsafe.yaml", tmp_path, allow_unsafe_code=True).name == "unsafe"


def test_its_module_is_not_even_imported(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("raise SystemExit", encoding="utf-8")
    extra = "unsafe_code: true\nprocess_docs: !function code.run"
    text = CHOICE.format(name="unsafe", extra=extra, data=TASKS / "questions.jsonl")
    (tmp_path / "unsafe.yaml").write_text(text, encoding="utf-8")
    assert "allow_unsafe_code" in refused("unsafe.yaml", tmp_path)


def test_pictures_are_refused(tmp_path: Path) -> None:
    text = CHOICE.format(name="seen", extra="doc_to_image: picture", data=TASKS / "questions.jsonl")
    (tmp_path / "seen.yaml").write_text(text, encoding="utf-8")
    assert "images" in refused("seen.yaml", tmp_path)


def test_solved_examples_that_lm_eval_would_ignore_are_refused(tmp_path: Path) -> None:
    text = CHOICE.format(name="fixed", extra="num_fewshot: 0", data=TASKS / "questions.jsonl")
    (tmp_path / "fixed.yaml").write_text(text, encoding="utf-8")
    assert "fixes num_fewshot at 0" in refused("fixed.yaml", tmp_path, num_fewshot=3)
    assert load("fixed.yaml", tmp_path, num_fewshot=0).task.config.num_fewshot == 0


def test_broken_yaml_and_missing_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("task: [", encoding="utf-8")
    assert "Cannot read" in refused("broken.yaml", tmp_path)
    (tmp_path / "lost.yaml").write_text(CHOICE.format(name="lost", extra="", data="lost.jsonl"), encoding="utf-8")
    assert "lost.jsonl" in refused("lost.yaml", tmp_path)


def test_functions_of_a_task_belong_to_its_files(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("def some(docs):\n    return docs.select(range(5))\n", encoding="utf-8")
    text = CHOICE.format(name="coded", extra="process_docs: !function code.some", data=TASKS / "questions.jsonl")
    (tmp_path / "coded.yaml").write_text(text, encoding="utf-8")
    found = load("coded.yaml", tmp_path)
    assert len(found.task.eval_docs) == 5
    assert [path.name for path in found.files] == ["code.py", "coded.yaml", "questions.jsonl"]


def test_documents_shuffled_by_a_task_are_those_of_lm_eval_and_draw_nothing(tmp_path: Path) -> None:
    code = "import random\ndef some(docs):\n    return docs.select(random.sample(range(40), 5))\n"
    (tmp_path / "code.py").write_text(code, encoding="utf-8")
    text = CHOICE.format(name="drawn", extra="process_docs: !function code.some", data=TASKS / "questions.jsonl")
    (tmp_path / "drawn.yaml").write_text(text, encoding="utf-8")
    drawn = []
    for seed in (1, 2):
        random.seed(seed)
        before = random.getstate()
        drawn.append(load("drawn.yaml", tmp_path).task.task_docs["question"])
        assert random.getstate() == before
    assert list(drawn[0]) == list(drawn[1])


def test_the_test_split_of_a_public_benchmark_is_warned_of(registered: Path) -> None:
    local = load("./choice.yaml")
    assert local.warnings == ()
    (warning,) = load("known").warnings
    assert "you are optimising on the test split of the public benchmark 'known'" in warning


OFFLINE = """
import sys
from pathlib import Path
from searcher.errors import ConfigError
from searcher.objectives.lm_eval_tasks import load_task
try:
    load_task("arc_easy", where="objective 'mine'")
except ConfigError as error:
    print(error)
"""


def test_a_data_set_that_is_not_here_is_named_offline(tmp_path: Path) -> None:
    """With lm-eval's own task of that name; nothing is asked of the network."""
    settings = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], env={**os.environ, **settings}, capture_output=True, text=True, check=True
    )
    what, where, fix = done.stdout.splitlines()
    assert "'allenai/ai2_arc'" in what
    assert "objective 'mine'" in where
    assert "HF_DATASETS_OFFLINE" in fix


def test_data_of_the_task_folder_are_as_described() -> None:
    lines = (TASKS / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    documents = [json.loads(line) for line in lines]
    assert len(documents) == N_DOCUMENTS
    assert all(d["choices"][d["gold"]] in d["text"] for d in documents)

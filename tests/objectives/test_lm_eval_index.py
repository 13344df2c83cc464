"""Finding tasks by name, in lm-eval's own folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from searcher.objectives.lm_eval_index import _index, names_in, registered_file, tasks_folder

pytest.importorskip("lm_eval")


def test_a_task_in_a_file_of_its_name_is_found_without_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(folder: Path) -> dict[str, Path]:
        raise AssertionError(folder)

    monkeypatch.setattr("searcher.objectives.lm_eval_index._index", never)
    assert registered_file("arc_easy") == tasks_folder() / "arc" / "arc_easy.yaml"


def test_names_are_read_without_parsing(tmp_path: Path) -> None:
    lines = [
        "# task: not_this",
        "task: plain  # remark",
        'tag: "quoted"',
        '"group": odd',
        "  task: inner",
        "task:",
        "x: task: y",
    ]
    path = tmp_path / "some.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert names_in(path) == [("task", "plain"), ("tag", "quoted"), ("group", "odd")]


def test_line_ends_of_windows_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_bytes(b"task: plain\r\noutput_type: multiple_choice\r\n")
    assert names_in(path) == [("task", "plain")]


@pytest.mark.slow
def test_the_names_are_those_of_lm_eval() -> None:
    """Its own index takes a quarter of a minute, and more from a cold disk."""
    from lm_eval.tasks import TaskManager

    theirs = TaskManager()
    files = {name: theirs.task_index[name].yaml_path for name in [*theirs.all_subtasks, *theirs.all_groups]}
    found = _index(tasks_folder())
    assert {name: found.get(name) for name in files} == files
    chosen = sorted(files)[::1500]
    assert [registered_file(name) for name in chosen] == [files[name] for name in chosen]
    tags = [name for name in theirs.all_tags if name in found]
    assert len(tags) > 100

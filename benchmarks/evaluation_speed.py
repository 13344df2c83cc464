"""Scoring speed: our runner against lm-eval on the same model, and a whole candidate against mergekit-evolve's procedure.

python benchmarks/evaluation_speed.py --json benchmarks/results/evaluation_speed.json [--mergekit PYTHON]

The pool is a base and two models in the shape of a 135M-parameter Llama, synthetic weights, with a tokenizer; the tasks
are synthetic multiple choice with four options. Three measurements:

scoring      the same requests by ``lm_eval.simple_evaluate`` (HFLM on the same live model, the fastest of several batch
             sizes) and by our objective, in turns; 3-shot. ``times_faster`` compares model calls alone, without
             lm-eval's task building; the largest difference of a log-probability is given.
candidate    build and score a new merge on 200 short items, against merging to disk, loading the folder and
             simple_evaluate. With ``--mergekit`` (an interpreter that has mergekit 0.1.5) its command line merges;
             without it our own merger writes the folder, which is faster.
later        of the second candidate's scoring: what is not spent in the model (tokenizing, task building, metrics).

A whole run takes an hour on two cores. ``--only PART`` (again for more) measures some parts and leaves the others in
the file as they are.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from choice_tasks import save_tokenizer, write_task
from llama_pool import SHAPES_135M, SHAPES_TINY, make_pool
from report import parser, write_result
from safetensors.torch import load_file, save_file

from searcher.language.huggingface import HuggingFaceRunner
from searcher.merge.engine import MergeEngine
from searcher.merge.live_model import LiveModel
from searcher.objectives.lm_eval import LmEval
from searcher.pool.pool import open_pool
from searcher.recipe import Recipe

GOALS = {"scoring": 2.0, "candidate": 10.0, "later": 0.01}
CASES: dict[str, dict[str, Any]] = {  # 3-shot
    "options": {"question": 25, "option": 6, "letters": False, "shared": False},
    "options, same examples": {"question": 25, "option": 6, "letters": False, "shared": True},
    "letters": {"question": 25, "option": 6, "letters": True, "shared": False},
    "letters, same examples": {"question": 25, "option": 6, "letters": True, "shared": True},
}
PARTS = [*CASES, "candidate"]
SHORT: dict[str, Any] = {"question": 8, "option": 2, "letters": False, "shared": False}


def main() -> None:
    """Measure, print a table, write the figures."""
    options = parser(__doc__ or "")
    options.add_argument("--mergekit", type=Path, metavar="PYTHON", help="interpreter of an environment with mergekit")
    options.add_argument("--pool", type=Path, help="folder for the synthetic pool; kept if given")
    options.add_argument("--dtype", default="float32", help="storage type of the live model")
    options.add_argument("--documents", type=int, help="documents per 3-shot task")
    options.add_argument("--rounds", type=int, default=3, help="measurements of each, in turns")
    options.add_argument("--only", action="append", choices=PARTS, default=[], metavar="PART", help=", ".join(PARTS))
    arguments = options.parse_args()
    quick = arguments.quick
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(temporary), arguments.pool, SHAPES_TINY if quick else SHAPES_135M, arguments.dtype)
        n = arguments.documents or (8 if quick else 24)
        rounds, sizes = (1, (4,)) if quick else (arguments.rounds, (1, 4, 16))
        figures: dict[str, Any] = {
            "parameters": bench.engine.layout.n_parameters, "device": bench.engine.device, "dtype": arguments.dtype,
            "threads": torch.get_num_threads(), "goals": GOALS,
        }  # fmt: skip
        known = (
            json.loads(arguments.json.read_text())
            if arguments.only and arguments.json and arguments.json.exists()
            else {}
        )
        wanted = arguments.only or PARTS
        figures["scoring"] = {**known.get("scoring", {})}
        for name in (name for name in CASES if name in wanted):
            figures["scoring"][name] = bench.scoring(name, n, rounds, sizes)
        figures["candidate"] = known.get("candidate")
        if "candidate" in wanted:
            figures["candidate"] = bench.candidate(20 if quick else 200, rounds, sizes, arguments.mergekit)
    show(figures)
    write_result(arguments.json, figures, ["torch", "transformers", "lm-eval", "numpy"])


class Bench:
    """A live model and tasks for it."""

    def __init__(self, folder: Path, pool: Path | None, shape: dict[str, int], dtype: str) -> None:
        self.folder = folder
        self.base, self.models = make_pool(pool or folder / "pool", 2, shape)
        for model in (self.base, *self.models):
            save_tokenizer(model, shape["vocab_size"])
            scale_up_norms(model)
        found = open_pool(base=str(self.base), models=[str(m) for m in self.models], root=Path())
        self.engine = MergeEngine(found, dtype=dtype)
        self._generator = np.random.default_rng(0)

    def recipe(self) -> Recipe:
        """New coefficients in every call."""
        names = tuple(model.name for model in self.engine.pool.models)
        borders = np.array([0, self.engine.layout.n_parameters])
        return Recipe("task_arithmetic", names, "base", borders, self._generator.uniform(0.2, 0.6, (1, len(names))))

    def scoring(self, name: str, n: int, rounds: int, sizes: tuple[int, ...]) -> dict[str, Any]:
        """Seconds of scoring alone, in turns, and whether the numbers are the same."""
        task = write_task(self.folder, name.replace(", ", "_").replace(" ", "_"), n, **CASES[name])
        model = self.engine.build(self.recipe())
        objective = objective_of(task, 3)
        ours, theirs, wholes, ratios = [], [], [], []
        value = objective.evaluate(model, None, 0).value  # tokenizes, plans, tries the model out
        size = min(sizes, key=lambda s: lm_eval(model, task, 3, s)["calls_s"]) if len(sizes) > 1 else sizes[0]
        for _ in range(rounds):
            reference = lm_eval(model, task, 3, size)
            seconds, inside, answers = scored(objective, model)
            ours.append(inside)
            theirs.append(reference["calls_s"])
            wholes.append(reference["whole_s"] / seconds)
            ratios.append(reference["calls_s"] / inside)
        return {
            "documents": n,
            "tokens_per_request": reference["tokens"] // len(reference["answers"]),
            "batch_size": size,
            "ours_s": round(statistics.median(ours), 3),
            "lm_eval_s": round(statistics.median(theirs), 3),
            "times_faster": round(statistics.median(ratios), 2),
            "times_faster_than_simple_evaluate": round(statistics.median(wholes), 2),
            "requests_per_s": round(len(answers) / statistics.median(ours), 1),
            "largest_difference_nats": float(np.abs(np.sort(answers) - np.sort(reference["answers"])).max()),
            "same_value": value == reference["value"],
        }

    def candidate(self, n: int, rounds: int, sizes: tuple[int, ...], mergekit: Path | None) -> dict[str, Any]:
        """Seconds of a whole candidate, ours and by way of the disk."""
        task, objective = write_task(self.folder, "short", n, **SHORT), None
        ours, theirs, builds, outside, parts = [], [], [], [], []
        objective = objective_of(task, 0)
        first = timed(lambda: objective.evaluate(self.engine.build(self.recipe()), None, 0))
        for _ in range(rounds):
            recipe = self.recipe()
            started = time.perf_counter()
            model = self.engine.build(recipe)
            builds.append(time.perf_counter() - started)
            seconds, inside, _ = scored(objective, model)
            ours.append(time.perf_counter() - started)
            outside.append(1 - inside / seconds)
            parts.append(self.by_disk(recipe, model, task, sizes[-1], mergekit))
            theirs.append(sum(parts[-1].values()))
        medians = {part: round(statistics.median(p[part] for p in parts), 2) for part in parts[0]}
        return {
            "items": n,
            "first_s": round(first, 3),
            "ours_s": round(statistics.median(ours), 3),
            "build_s": round(statistics.median(builds), 3),
            "by_disk_s": round(statistics.median(theirs), 2),
            "merged_by": "mergekit" if mergekit else "searcher",
            **medians,
            "times_faster": round(statistics.median(t / o for t, o in zip(theirs, ours, strict=True)), 1),
            "outside_the_model": round(statistics.median(outside), 4),
        }

    def by_disk(
        self, recipe: Recipe, model: LiveModel, task: Path, size: int, mergekit: Path | None
    ) -> dict[str, float]:
        """Seconds of mergekit-evolve's steps: merge to a folder, load it, simple_evaluate."""
        from transformers import AutoModelForCausalLM

        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "merged"
            merging = timed(lambda: self._mergekit(mergekit, recipe, folder) if mergekit else model.path(folder))
            started = time.perf_counter()
            loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=model.weights.dtype).to(self.engine.device)
            loading = time.perf_counter() - started
        fresh = LiveModel(loaded.eval(), model.weights, model.tokenizer)
        return {
            "merge_s": merging,
            "load_s": loading,
            "simple_evaluate_s": lm_eval(fresh, task, 0, size)["whole_s"],
        }

    def _mergekit(self, python: Path, recipe: Recipe, folder: Path) -> None:
        weights = recipe.coefficients[0].tolist()
        models = [{"model": str(m), "parameters": {"weight": w}} for m, w in zip(self.models, weights, strict=True)]
        config = {
            "merge_method": "task_arithmetic", "base_model": str(self.base), "dtype": "float32",
            "out_dtype": "bfloat16", "models": models,
        }  # fmt: skip
        path = folder.with_suffix(".yml")
        path.write_text(json.dumps(config))
        command = [str(python.with_name("mergekit-yaml")), str(path), str(folder), "--quiet"]
        subprocess.run(command, check=True, capture_output=True)


def scale_up_norms(folder: Path) -> None:
    """Norm weights near 1 instead of 0, without which all tokens are about equally likely."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name, tensor in tensors.items():
        if name.endswith("norm.weight") and float(tensor.mean()) < 0.5:
            tensors[name] = tensor + 1
    save_file(tensors, path, metadata={"format": "pt"})


def objective_of(task: Path, n_fewshot: int) -> LmEval:
    """Our objective over all documents of a task."""
    return LmEval("choice", task=str(task), metric="acc", num_fewshot=n_fewshot, split={"search": 1.0})


def scored(objective: LmEval, model: LiveModel) -> tuple[float, float, np.ndarray[Any, Any]]:
    """Seconds of the objective, seconds in the runner, log-probabilities of all requests."""
    inside, answers = [], []
    original = HuggingFaceRunner.score

    def score(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - stands for the method
        started = time.perf_counter()
        found = original(*arguments, **named)
        inside.append(time.perf_counter() - started)
        answers.append(found.log_probability)
        return found

    with patch.object(HuggingFaceRunner, "score", score):
        seconds = timed(lambda: objective.evaluate(model, None, 0))
    return seconds, sum(inside), np.concatenate(answers)


def lm_eval(model: LiveModel, task: Path, n_fewshot: int, batch_size: int) -> dict[str, Any]:
    """``simple_evaluate`` on the live model: seconds of all, seconds of its model calls, value, log-probabilities."""
    from lm_eval import evaluator
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    with quiet():
        asked = HFLM(pretrained=model.module, tokenizer=model.tokenizer, batch_size=batch_size)
    original, calls, answers, tokens = asked._loglikelihood_tokens, [], [], []

    def timed_calls(requests: Any, **named: Any) -> Any:  # noqa: ANN401 - stands for the method
        started = time.perf_counter()
        found = original(requests, disable_tqdm=True)
        calls.append(time.perf_counter() - started)
        answers.extend(value for value, _ in found)
        tokens.extend(len(context) + len(continuation) for _, context, continuation in requests)
        return found

    asked._loglikelihood_tokens = timed_calls
    with quiet(), patch.object(evaluator, "add_env_info", lambda results: None):  # it starts half a dozen programs
        started = time.perf_counter()
        manager = TaskManager(include_path=str(task.parent), include_defaults=False)
        results = evaluator.simple_evaluate(
            asked, tasks=[task.stem], num_fewshot=n_fewshot, task_manager=manager, bootstrap_iters=0,
            log_samples=False, random_seed=None, numpy_random_seed=None, torch_random_seed=None,
        )  # fmt: skip
        whole = time.perf_counter() - started
    value = results["results"][task.stem]["acc,none"]
    return {"whole_s": whole, "calls_s": sum(calls), "value": value, "answers": answers, "tokens": sum(tokens)}


@contextmanager
def quiet() -> Iterator[None]:
    """Without lm-eval's messages and progress bars."""
    import datasets
    from transformers.utils import logging as transformers_logging

    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            yield
    finally:
        logging.disable(logging.NOTSET)


def timed(action: Callable[[], object]) -> float:
    """Wall seconds of a call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def show(figures: dict[str, Any]) -> None:
    """A short table."""
    print(f"{figures['parameters'] / 1e6:.1f}M parameters, {figures['dtype']} on {figures['device']}")
    print(f"{'3-shot':26}{'ours s':>9}{'lm-eval s':>11}{'times':>7}{'goal':>6}{'whole':>7}  same numbers")
    for name, row in figures["scoring"].items():
        same = f"{row['same_value']}, within {row['largest_difference_nats']:.0e} nats"
        print(
            f"{name:26}{row['ours_s']:9.3f}{row['lm_eval_s']:11.3f}{row['times_faster']:7.1f}{GOALS['scoring']:6.0f}"
            f"{row['times_faster_than_simple_evaluate']:7.1f}  {same}"
        )
    row = figures["candidate"]
    if row is None:
        return
    print(f"a candidate on {row['items']} short items: {row['ours_s']} s (build {row['build_s']} s)")
    print(
        f"  by disk: {row['by_disk_s']} s (merge by {row['merged_by']} {row['merge_s']} s, load {row['load_s']} s, ",
        end="",
    )
    print(
        f"simple_evaluate {row['simple_evaluate_s']} s): {row['times_faster']} times faster, goal {GOALS['candidate']:.0f}"
    )
    print(f"  from the second candidate on {row['outside_the_model']:.2%} outside the model, goal {GOALS['later']:.0%}")


if __name__ == "__main__":
    main()

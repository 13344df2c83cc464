"""Figures of the M2N2 authors' own code, for comparison with `benchmarks/natural_niches.py`.

Their code (github.com/SakanaAI/natural_niches) is no dependency; it runs unmodified in a virtual environment of its own:

git clone https://github.com/SakanaAI/natural_niches ../natural_niches
python3.11 -m venv ../authors-venv
../authors-venv/bin/pip install jax==0.4.31 jaxlib==0.4.31 numpy==2.1.1 scikit-learn==1.5.1 scipy==1.14.1 cma==4.0.0 tqdm optax
../authors-venv/bin/python benchmarks/natural_niches_authors.py --code ../natural_niches --setting pretrained \
    --methods m2n2 ga --passes 3000 --seeds 5 --json benchmarks/results/natural_niches_authors_pretrained.json

`optax` is missing from their environment file. Their progress bar is exchanged for one that picks the seed and reads
the clock; nothing else of theirs is touched. Finished runs are kept: repeating a command goes on with what is missing.
With `--paced` the script runs passes only when told to on standard input, for timing in turns with other code.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from report import write_result

os.environ["JAX_PLATFORM_NAME"] = "cpu"

EVERY = 100
"""Passes between two recorded accuracies; every thousandth pass is among them."""

METHODS: dict[str, dict[str, Any]] = {
    "m2n2": {},
    "m2n2_no_matchmaker": {"no_matchmaker": True},
    "m2n2_no_split": {"no_splitpoint": True},
    "m2n2_no_crossover": {"no_crossover": True},
    "ga": {"no_matchmaker": True, "alpha": 0.0},
    "map_elites": {},
    "cma_es_identity": {},
}


class Clock:
    """Stands in for their progress bar: runs one seed only and notes the time of every pass.

    Args:
        run: Number of the run; the authors' seed is 42 more.
        pause: Called before every pass with its number.
    """

    def __init__(self, run: int, pause: Callable[[int], None] = lambda _: None) -> None:
        self._run, self._pause = run, pause
        self.times: list[float] = []

    def __call__(self, numbers: range, desc: str = "") -> Iterator[int]:
        """What their loops iterate over."""
        if desc in ("Runs", "Runes"):
            yield self._run
            return
        for number in numbers:
            self._pause(number)
            self.times.append(time.perf_counter())
            yield number
        self.times.append(time.perf_counter())


def run(method: str, setting: str, number: int, passes: int, clock: Clock) -> dict[str, list[Any]]:
    """One run of their code: their `result` of one seed."""
    pretrained = setting == "pretrained"
    with redirect_stdout(sys.stderr):
        if method == "map_elites":
            import map_elites_fn

            map_elites_fn.tqdm = clock
            return map_elites_fn.run_map_elites(number + 1, passes, True, pretrained)[-1]
        if method == "cma_es_identity":
            return cma_es(number, passes, clock)
        import natural_niches_fn

        natural_niches_fn.tqdm = clock
        switches = dict.fromkeys(("no_matchmaker", "no_crossover", "no_splitpoint"), False) | METHODS[method]
        return natural_niches_fn.run_natural_niches(
            number + 1, 20, passes, True, use_pre_trained=pretrained, **switches
        )[-1]


def cma_es(number: int, passes: int, clock: Clock) -> dict[str, list[Any]]:
    """Their CMA-ES with the covariance held at the identity, from which 19,210 dimensions hardly let it depart."""
    import cma_es_fn

    class Identity(cma_es_fn.cma.CMAEvolutionStrategy):  # type: ignore[misc, name-defined]
        def __init__(self, x0: Any, sigma0: float, inopts: dict[str, Any]) -> None:  # noqa: ANN401
            super().__init__(x0, sigma0, inopts | {"CMA_diagonal": True, "CMA_on": 0})

    cma_es_fn.tqdm = clock
    original, cma_es_fn.cma.CMAEvolutionStrategy = cma_es_fn.cma.CMAEvolutionStrategy, Identity
    try:
        return cma_es_fn.run_cma_es(number + 1, 20, passes, True)[-1]
    finally:
        cma_es_fn.cma.CMAEvolutionStrategy = original


def curve(result: dict[str, list[Any]], clock: Clock, seed: int) -> dict[str, Any]:
    """Accuracies after every `EVERY` passes and the time per pass, without the first 20 (compilation)."""
    per_step = 1 if len(result["evals"]) < 2 else int(result["evals"][1]) - int(result["evals"][0])
    steps = range(EVERY // per_step - 1, len(result["evals"]), EVERY // per_step)
    times = clock.times[20:] if len(clock.times) > 40 else clock.times
    return {
        "seed": seed,
        "passes": [(step + 1) * per_step for step in steps],
        "train": [float(result["train_values"][step]) for step in steps],
        "test": [float(result["test_values"][step]) for step in steps],
        "ms_per_pass": 1000 * (times[-1] - times[0]) / ((len(times) - 1) * per_step),
    }


def write_experts(path: Path) -> None:
    """Their two half-trained networks as an `.npz` file with the array `experts`, float32, (2, 19210)."""
    import numpy as np
    from helper_fn import get_pre_trained_models

    np.savez_compressed(path, experts=np.stack([np.asarray(model) for model in get_pre_trained_models()]))


def brute_force() -> dict[str, float]:
    """Their 10,000 whole-vector slerp weights: the best one and its test accuracy."""
    from brute_force_fn import run_brute_force

    return {name: float(value) for name, value in run_brute_force().items()}


def paced(method: str, setting: str, number: int) -> None:
    """Read numbers of passes from standard input; after each, write the seconds they took, wall and processor."""
    left, began = 0, (0.0, 0.0)

    def pause(_: int) -> None:
        nonlocal left, began
        if left == 0:
            wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
            print(wall, cpu, file=sys.__stdout__, flush=True)  # sys.stdout is where their prints do not disturb
            line = sys.stdin.readline()
            if not line:
                os._exit(0)
            left, began = int(line), (time.perf_counter(), time.process_time())
        left -= 1

    run(method, setting, number, 10**9, Clock(number, pause))


def record(options: argparse.Namespace) -> None:
    """Run what is missing in the file and write it after every run."""
    found = json.loads(options.json.read_text())["runs"] if options.json.exists() else {}
    for method in options.methods:
        rows = found.setdefault(method, [])
        for number in range(options.seeds):
            if any(row["seed"] == 42 + number and row["passes"][-1] >= options.passes for row in rows):
                continue
            clock = Clock(number)
            rows.append(curve(run(method, options.setting, number, options.passes, clock), clock, 42 + number))
            write_result(options.json, {"setting": options.setting, "runs": found}, ["jax", "numpy", "cma", "optax"])


def main() -> None:
    """Measure and write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--code", type=Path, required=True, help="folder of their code")
    options.add_argument("--setting", choices=["scratch", "pretrained"], default="pretrained")
    options.add_argument("--methods", nargs="+", choices=METHODS, default=["m2n2"])
    options.add_argument("--passes", type=int, default=1000)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--json", type=Path, metavar="FILE")
    options.add_argument("--experts", type=Path, metavar="FILE", help="write their two pre-trained networks there")
    options.add_argument("--brute-force", action="store_true", help="print their brute-force figure")
    options.add_argument("--paced", action="store_true", help="run as many passes as standard input says, line by line")
    chosen = options.parse_args()
    sys.path.insert(0, str(chosen.code))
    if chosen.experts:
        write_experts(chosen.experts)
    if chosen.brute_force:
        print(brute_force())
    if chosen.paced:
        paced(chosen.methods[0], chosen.setting, 0)
    if chosen.json:
        record(chosen)


if __name__ == "__main__":
    main()

"""The M2N2 authors' experiment with our code: digits classifiers evolved from scratch, or from two half-trained ones.

python benchmarks/natural_niches.py --setting pretrained --passes 5000 --seeds 10 \
    --json benchmarks/results/natural_niches_pretrained.json
python benchmarks/natural_niches.py --setting scratch --method m2n2 ga cma_es --passes 20000 --seeds 5 --json FILE

8 x 8 digits, the first 80 % for the search and the rest for the test, networks of 64-256-10 units, an archive of 20.
One pass scores one network on all search examples. `benchmarks/natural_niches_authors.py` records the authors' code,
`benchmarks/natural_niches_compare.py` compares the two and draws the curves.

From scratch means two networks of N(0, 0.01^2) weights and mutations of the same size. The two experts are the
authors' own (`results/natural_niches_experts.npz`, written by their code: ten Adam steps each, one on digits 0 to 4, one
on 5 to 9); there is no mutation. `--experts train` trains others for every seed. CMA-ES, which the authors run from
scratch only, begins at the experts' midpoint. Finished runs in the file are kept; repeat a command to go on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import parser, write_result
from sklearn.datasets import load_digits

from searcher.neuroevolution.cma_es import CmaEs
from searcher.neuroevolution.evolution import Evolution, Variation
from searcher.neuroevolution.line_search import LineSearch
from searcher.neuroevolution.map_elites import MapElites
from searcher.neuroevolution.natural_niches import NaturalNiches
from searcher.neuroevolution.network import Network, Scorer, Weights
from searcher.neuroevolution.population import Population
from searcher.neuroevolution.training import train

EXPERTS = Path(__file__).parent / "results" / "natural_niches_experts.npz"
NETWORK = Network((64, 256, 10))
SIGMA = 0.01
EVERY = 100
"""Passes between two recorded accuracies."""


class Digits:
    """The data, split as the authors split it, and a scorer of each part."""

    def __init__(self) -> None:
        inputs, labels = load_digits(return_X_y=True)
        n = int(len(inputs) * 0.8)
        self.inputs, self.labels = inputs[:n].astype(np.float32), labels[:n]
        self.search = Scorer(NETWORK, self.inputs, self.labels)
        self.test = Scorer(NETWORK, inputs[n:].astype(np.float32), labels[n:])


@dataclass(frozen=True)
class Start:
    """What a run begins with."""

    digits: Digits
    setting: str
    first: Weights
    seed: int
    passes: int

    @property
    def sigma(self) -> float:
        """Standard deviation of mutations."""
        return SIGMA if self.setting == "scratch" else 0.0

    @property
    def mean(self) -> Weights:
        """Where CMA-ES begins, shape ``(1, n)``."""
        if self.setting == "scratch":
            return self.first[:1]
        rows = Population(3, NETWORK.n_parameters, seed=0)
        rows.place(0, self.first[0])
        rows.place(1, self.first[1])
        rows.cross(2, 0, 1, 0.5, 0)
        return rows.rows[2:]


def niches(start: Start, crossover: Any = "split_point", mutates: bool = False, **settings: Any) -> Evolution:  # noqa: ANN401
    """M2N2, its ablations and the genetic algorithm."""
    variation = Variation(crossover, SIGMA if mutates else start.sigma)
    return NaturalNiches(start.digits.search, start.first, seed=start.seed, variation=variation, **settings)


def map_elites(start: Start) -> Evolution:
    """MAP-Elites on accuracies of odd and of even digits."""
    groups, variation = 1 - start.digits.labels % 2, Variation(sigma=start.sigma)
    return MapElites(start.digits.search, start.first, groups, seed=start.seed, variation=variation)


METHODS: dict[str, Callable[[Start], Evolution]] = {
    "m2n2": niches,
    "m2n2_no_matchmaker": lambda s: niches(s, matchmaker=False),
    "m2n2_no_split": lambda s: niches(s, "whole"),
    "m2n2_no_crossover": lambda s: niches(s, "none"),
    "m2n2_no_competition": lambda s: niches(s, alpha=0.0),
    "m2n2_mutation": lambda s: niches(s, mutates=True),
    "ga": lambda s: niches(s, alpha=0.0, matchmaker=False),
    "map_elites": map_elites,
    "cma_es": lambda s: CmaEs(s.digits.search, s.mean, seed=s.seed),
    "cma_es_identity": lambda s: CmaEs(s.digits.search, s.mean, seed=s.seed, covariance="identity"),
    "brute_force": lambda s: LineSearch(s.digits.search, s.first, n_positions=s.passes),
}
SKIPPED = {"scratch": {"brute_force", "m2n2_mutation"}, "pretrained": {"m2n2_no_crossover"}}
"""Methods without sense: no experts; as m2n2; clones only."""


def first_networks(setting: str, digits: Digits, seed: int, experts: str) -> Weights:
    """Two networks, shape ``(2, n)``."""
    if setting == "pretrained" and experts != "train":
        with np.load(experts, allow_pickle=False) as stored:
            return np.asarray(stored["experts"])
    networks = NETWORK.random(2, SIGMA, np.random.default_rng([seed, 1]))
    if setting == "scratch":
        return networks
    halves = (digits.labels < 5, digits.labels >= 5)
    trained = [train(NETWORK, v, digits.inputs[h], digits.labels[h]) for v, h in zip(networks, halves, strict=True)]
    return np.stack(trained)


class Recorder:
    """Runs an evolution and records its accuracies; the test set is scored when the best network has changed."""

    def __init__(self, evolution: Evolution, test: Scorer) -> None:
        self._evolution, self._test, self._n_changes, self.test_accuracy = evolution, test, -1, 0.0

    def advance(self) -> None:
        """One pass, or one generation, with the test accuracy of the best network after it."""
        self._evolution.advance()
        if self._evolution.n_changes != self._n_changes:
            self._n_changes = self._evolution.n_changes
            self.test_accuracy = self._test.accuracy(self._evolution.best)


def run(start: Start, method: str) -> dict[str, Any]:
    """One run."""
    evolution = METHODS[method](start)
    recorder = Recorder(evolution, start.digits.test)
    row: dict[str, Any] = {"seed": start.seed, "passes": [], "train": [], "test": []}
    started = time.perf_counter()
    while evolution.n_passes < start.passes:
        recorder.advance()
        if evolution.n_passes % EVERY == 0:
            row["passes"].append(evolution.n_passes)
            row["train"].append(round(evolution.best_accuracy, 5))
            row["test"].append(round(recorder.test_accuracy, 5))
    row["ms_per_pass"] = round(1000 * (time.perf_counter() - started) / evolution.n_passes, 3)
    if isinstance(evolution, NaturalNiches):
        row["coverage"] = round(float(evolution.archive.scores.any(axis=0).mean()), 5)
    return row


def main() -> None:
    """Measure, write and print."""
    options = parser(__doc__ or "")
    options.add_argument("--setting", choices=["scratch", "pretrained"], default="pretrained")
    options.add_argument("--method", nargs="+", choices=METHODS, help="default: all that the setting allows")
    options.add_argument("--passes", type=int, default=3000, help="a multiple of 100")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--experts", default=str(EXPERTS), help="an .npz file, or `train`")
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    passes, seeds = (300, 2) if chosen.quick else (chosen.passes, chosen.seeds)
    methods = [m for m in chosen.method or METHODS if m not in SKIPPED[chosen.setting]]
    kept = json.loads(chosen.json.read_text())["runs"] if chosen.json and chosen.json.exists() else {}
    digits = Digits()
    for method in methods:
        rows = kept.setdefault(method, [])
        for seed in range(1 if method == "brute_force" else seeds):
            if any(row["seed"] == seed and row["passes"][-1] >= passes for row in rows):
                continue
            first = first_networks(chosen.setting, digits, seed, chosen.experts)
            rows.append(run(Start(digits, chosen.setting, first, seed, passes), method))
            write_result(chosen.json, {"setting": chosen.setting, "runs": kept}, ["numpy", "torch", "cma"])
        final = {key: [row[key][-1] for row in rows] for key in ("train", "test")}
        times = np.mean([row["ms_per_pass"] for row in rows])
        figures = ", ".join(f"{key} {np.mean(values):.3f}" for key, values in final.items())
        print(f"{method}: {figures} after {passes} passes, {times:.2f} ms per pass", flush=True)


if __name__ == "__main__":
    main()

"""Any Optuna sampler as a strategy, by ask and tell on a study that lives in memory.

The study is rebuilt by replaying a run, so no storage of Optuna's is involved. A genome that the sampler did not
propose, such as a baseline, enters through the queue of the study; genetic samplers then count it as a member
of the generation that is open (see ``generations.py``).
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from searcher.candidate import Genome, Proposal, Trial
from searcher.errors import ConfigError, UnknownNameError, nearest
from searcher.strategies.base import Problem, Strategy
from searcher.strategies.generations import with_counted_generations
from searcher.strategies.one_number import Scalar
from searcher.strategies.pending import PendingProposals
from searcher.strategies.scalar import make_scalar

if TYPE_CHECKING:
    from optuna import Study

PREFIX = "optuna:"
NEEDS_FINITE_SPACE = ("BruteForceSampler", "GridSampler")  # genes are continuous
NEEDS_SAMPLER = ("PartialFixedSampler",)
PREFERENCE = ("weights", "reference_point", "order", "tolerance", "constraints")  # ours beside scalarize, else Optuna's
OPERATORS = ("crossover", "mutation")  # settings that name a class of optuna.samplers.nsgaii
N_PROBES = 2  # enough for samplers that fall back to random numbers at first to show what they lack


class OptunaSampler(Strategy):
    """A sampler of Optuna.

    Failed trials, and trials with a value that is not finite, are told as failed: Optuna would let an infinite
    value onto the front.

    Args:
        sampler: Class name in ``optuna.samplers``, such as ``TPESampler``.
        settings: Keyword arguments of the class; ``crossover`` and ``mutation`` may be names of classes in
            ``optuna.samplers.nsgaii``. The seed is derived from the run's. Beside them ``scalarize`` gives the
            sampler one number to maximise instead of all objectives, with the settings of ``cma_es``: ``weights``,
            ``reference_point``, ``order`` and ``tolerance``, ``constraints``.

    Raises:
        UnknownNameError: If there is no such sampler.
        ConfigError: If a setting is unknown or refused, a package is missing, or the sampler cannot deal with
            several objectives.
    """

    def __init__(self, problem: Problem, *, sampler: str, settings: Mapping[str, object]) -> None:
        cls = _sampler_class(sampler)
        self._scalar = _scalar(problem, settings)
        self._n_values = problem.n_objectives if self._scalar is None else 1
        self._problem, self._name, self._given = problem, sampler, dict(settings)
        ours = () if self._scalar is None else ("scalarize", *PREFERENCE)
        self._settings = {name: value for name, value in settings.items() if name not in ours}
        _check_settings(sampler, cls, self._settings)
        seed = int(problem.rng().integers(2**31))
        with _quiet():
            from optuna.distributions import FloatDistribution

            self._genes = {name: FloatDistribution(0.0, 1.0) for name in problem.gene_names}
            self._probe(cls, seed)
            self._study = self._new_study(self._new_sampler(cls, seed))
        self._pending: PendingProposals[int] = PendingProposals()

    @override
    def ask(self, n: int) -> list[Proposal]:
        proposals = []
        with _quiet():
            for _ in range(n):
                trial = self._study.ask(self._genes)
                values = [trial.params[name] for name in self._problem.gene_names]
                genome: Genome = np.clip(np.asarray(values, dtype=np.float64), 0.0, 1.0)
                self._pending.add(genome, trial.number)
                proposals.append(Proposal(genome))
        return proposals

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        if self._scalar is not None:
            self._scalar.learn(trials)
        with _quiet():
            for trial in trials:
                if trial.genome is not None:
                    self._tell(trial, trial.genome)

    @override
    def describe(self) -> str:
        given = ", ".join(f"{name} {value}" for name, value in self._given.items())
        return f"Optuna {self._name}" + (f" ({given})" if given else "")

    def _tell(self, trial: Trial, genome: Genome) -> None:
        from optuna.trial import TrialState

        number = self._pending.pop(genome)
        if number is None:
            number = self._enter(genome)
        values = self._values(trial)
        if values is None:
            self._study.tell(number, state=TrialState.FAIL)
        else:
            self._study.tell(number, values)

    def _values(self, trial: Trial) -> list[float] | None:
        """What the study maximises; None if the evaluation failed or a value is not finite."""
        if self._scalar is not None:
            value = self._scalar.value(trial)
            return None if value is None else [value]
        if trial.fitness is None or not np.isfinite(trial.fitness).all():
            return None
        return [float(value) for value in trial.fitness]

    def _enter(self, genome: Genome) -> int:
        """The number of a new trial with a genome that the sampler did not propose."""
        values = np.clip(genome, 0.0, 1.0).tolist()
        self._study.enqueue_trial(dict(zip(self._problem.gene_names, values, strict=True)))
        return int(self._study.ask(self._genes).number)

    def _new_study(self, sampler: object) -> Study:
        import optuna

        return optuna.create_study(
            storage=optuna.storages.InMemoryStorage(),
            sampler=sampler,
            directions=["maximize"] * self._n_values,
        )

    def _new_sampler(self, cls: Callable[..., object], seed: int) -> object:
        from optuna.samplers import nsgaii

        settings = dict(self._settings)
        for name in OPERATORS:
            if isinstance(settings.get(name), str):
                settings[name] = _named(nsgaii, name, str(settings[name]))()
        return with_counted_generations(cls)(**settings, seed=seed)

    def _probe(self, cls: Callable[..., object], seed: int) -> None:
        """Run a few trials on a study of its own, so that what cannot work is refused before the run."""
        try:
            study = self._new_study(self._new_sampler(cls, seed))
            for _ in range(N_PROBES):
                study.tell(study.ask(self._genes), [0.0] * self._n_values)
        except ImportError as error:
            raise ConfigError(
                f"{self._name} needs a package that is not installed: {error}.",
                where=f"strategy: {PREFIX}{self._name}",
                fix=f"pip install {error.name or 'the package it names'}, or choose another strategy.",
            ) from error
        except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
            raise ConfigError(
                f"Optuna's {self._name} refuses this problem of {self._problem.dim} genes and "
                f"{self._n_values} objectives, or its settings: {error}",
                where=f"strategy: {PREFIX}{self._name}",
                fix="Correct the setting that the message names, or choose another strategy"
                + ("; a sampler for one objective needs `scalarize: worst`." if self._n_values > 1 else "."),
            ) from error


def resolve(name: str) -> Callable[[Problem, Mapping[str, object]], OptunaSampler]:
    """The factory for a strategy name ``optuna:X``; it takes the problem and the sampler's settings.

    Raises:
        UnknownNameError: If ``X`` is no sampler that can be used here; the message names the nearest.
    """
    sampler = name.removeprefix(PREFIX)
    _sampler_class(sampler)
    return lambda problem, settings: OptunaSampler(problem, sampler=sampler, settings=settings)


def known_samplers() -> tuple[str, ...]:
    """Strategy names of all samplers that can be used here, sorted, with the prefix."""
    with _quiet():
        from optuna import samplers

        names = [
            name
            for name in samplers.__all__
            if name.endswith("Sampler")
            and name not in NEEDS_FINITE_SPACE + NEEDS_SAMPLER
            and not inspect.isabstract(getattr(samplers, name))
        ]
    return tuple(PREFIX + name for name in sorted(names))


def _sampler_class(sampler: str) -> Callable[..., object]:
    known = known_samplers()
    if PREFIX + sampler not in known:
        raise UnknownNameError("strategy", PREFIX + sampler, known, where="strategy.name")
    from optuna import samplers

    cls: Callable[..., object] = getattr(samplers, sampler)
    return cls


def _scalar(problem: Problem, settings: Mapping[str, object]) -> Scalar | None:
    """What to maximise in place of the objectives; None if the sampler is told of all of them."""
    if "scalarize" not in settings:
        return None
    given: dict[str, Any] = {name: settings.get(name) for name in PREFERENCE}
    return make_scalar(problem, settings["scalarize"], given.pop("weights"), **given)


def _check_settings(sampler: str, cls: Callable[..., object], settings: Mapping[str, object]) -> None:
    """Refuse names that the sampler does not take, the seed, and numbers where it wants a function."""
    parameters = {name: p for name, p in inspect.signature(cls).parameters.items() if name != "seed"}
    for name, value in settings.items():
        where = f"strategy.{name}"
        if name == "seed":
            raise ConfigError(
                "The seed of a sampler follows from the run's.", where=where, fix="Set `seed` at the top of the config."
            )
        if name not in parameters:
            hint = nearest(name, parameters)
            raise ConfigError(
                f"Unknown setting {name!r} of {sampler}." + (f" Did you mean {hint!r}?" if hint else ""),
                where=where,
                fix=f"Use one of: {', '.join(sorted([*parameters, 'scalarize']))}.",
            )
        wants_function = "Callable" in str(parameters[name].annotation)
        if wants_function and value is not None and not callable(value):
            raise ConfigError(
                f"Setting {name!r} of {sampler} is a Python function, but got {value!r}.",
                where=where,
                fix="Leave it out in a config file; it can only be given from Python.",
            )


def _named(operators: object, kind: str, name: str) -> Callable[[], object]:
    """A crossover or mutation class of Optuna by its name."""
    known = [n for n in dir(operators) if n.lower().endswith(kind) and not n.startswith("Base")]
    if name not in known:
        raise UnknownNameError(kind, name, known, where=f"strategy.{kind}")
    found: Callable[[], object] = getattr(operators, name)
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's warnings and log lines, and leave its logging as it was found."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from optuna import logging

        level = logging.get_verbosity()
        logging.set_verbosity(logging.CRITICAL)
        try:
            yield
        finally:
            logging.set_verbosity(level)

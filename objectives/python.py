"""Any Python function of the live model as an objective."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from typing_extensions import override

from searcher.candidate import Score, Split
from searcher.errors import CandidateError, ConfigError, SearcherError
from searcher.merge.live_model import LiveModel
from searcher.objectives.base import OBJECTIVES, Objective
from searcher.objectives.function_reference import load_function, source_file
from searcher.objectives.returned_value import score_of
from searcher.objectives.splits import SplitExamples, SplitSettings, split_examples

F = TypeVar("F", bound=Callable[..., object])
Direction = Literal["maximize", "minimize"]
_SUPPLIED = ("examples", "seed")  # passed to functions that have a parameter of this name
_DECLARATION = "__searcher_objective__"


@dataclass(frozen=True)
class Declaration:
    """What a decorated function says of itself; settings in the config win over it."""

    n_examples: int | None
    direction: Direction
    unit: str


def objective(*, n_examples: int | None = None, direction: Direction = "maximize", unit: str = "") -> Callable[[F], F]:
    """Declare a function of the live model to be an objective.

    Args:
        n_examples: Number of examples in its data, all splits together; None if it has no examples.
        direction: Whether larger values are better.
        unit: Unit of the value, such as ``fraction`` or ``nats``.

    Example:
        >>> @objective(direction="minimize", unit="parameters")
        ... def size(model):
        ...     return model.weights.numel()
    """

    def declare(function: F) -> F:
        setattr(function, _DECLARATION, Declaration(n_examples, direction, unit))
        return function

    return declare


@OBJECTIVES.register("python")
class PythonObjective(Objective):
    """Whatever a Python function of the live model returns.

    The function is called as ``function(model, **arguments)``. It returns a number, a tuple of a number and its
    standard error, one score per example (a list, an array or a tensor), or a ``Score``; anything else fails the
    candidate, as does an exception. If it has a parameter ``examples`` and n_examples is set, it is given the
    indices of the examples to score, int64; if it has a parameter ``seed``, it is given the seed of the run. The
    code is trusted: it runs with all rights of the program.

    Args:
        function: module:function or path/to/file.py:function; from Python, also the function itself.
        arguments: Further keyword arguments of the function.
        direction: maximize or minimize; by default what the function's decorator says, else maximize.
        unit: Unit of the value; by default what the function's decorator says.
        n_examples: Number of examples in the function's data; by default what the function's decorator says.
        split: Fractions per split, such as {search: 0.6, select: 0.1, held_out: 0.3}, or index files per split;
            search 0.7 and held_out 0.3 if absent. Needs n_examples.

    Raises:
        ConfigError: If the function cannot be loaded or cannot take these arguments.
    """

    takes_indices = True

    def __init__(
        self,
        name: str,
        *,
        function: str | Callable[..., object],
        arguments: Mapping[str, object] | None = None,
        direction: Direction | None = None,
        unit: str | None = None,
        n_examples: int | None = None,
        split: SplitSettings | None = None,
        root: Path = Path(),
    ) -> None:
        self.name = name
        where = f"objective {name!r}"
        self._function = (
            load_function(function, root=root, where=f"{where}, function") if isinstance(function, str) else function
        )
        declared = getattr(self._function, _DECLARATION, Declaration(None, "maximize", ""))
        self.direction = declared.direction if direction is None else direction
        self.unit = declared.unit if unit is None else unit
        self._arguments = dict(arguments or {})
        self._examples = _examples(declared.n_examples if n_examples is None else n_examples, split, root, where)
        self._accepts = _accepted(self._function, self._arguments, self._examples is not None, where)

    @property
    @override
    def n_examples(self) -> int | None:
        return None if self._examples is None else self._examples.n_examples

    @property
    @override
    def splits(self) -> Mapping[Split, slice]:
        return {} if self._examples is None else self._examples.slices

    @property
    @override
    def files(self) -> tuple[Path, ...]:
        source = source_file(self._function)
        index_files = () if self._examples is None else self._examples.files
        return index_files if source is None else (source, *index_files)

    @override
    def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
        supplied: dict[str, object] = {"seed": seed}
        n_examples = None
        if self._examples is not None:
            chosen = self._examples.order[slice(None) if examples is None else examples].copy()
            supplied["examples"], n_examples = chosen, chosen.size
        supplied = {key: value for key, value in supplied.items() if key in self._accepts}
        returned = self._call(model, {**self._arguments, **supplied})
        return score_of(returned, objective=self.name, n_examples=n_examples)

    def _call(self, model: LiveModel, arguments: Mapping[str, object]) -> object:
        """Run the user's code; whatever it raises fails the candidate, not the run."""
        try:
            return self._function(model, **arguments)
        except (CandidateError, MemoryError, KeyboardInterrupt):
            raise
        except BaseException as error:
            kind = type(error).__name__
            if kind == "OutOfMemoryError":  # torch's, which the evaluator knows
                raise
            detail = error.what if isinstance(error, SearcherError) else str(error)
            message = f"Objective {self.name!r} raised {kind}: {detail}"
            raise CandidateError(f"ObjectiveError:{kind}", message) from error


def _examples(n: int | None, split: SplitSettings | None, root: Path, where: str) -> SplitExamples | None:
    if n is not None and n < 1:
        raise ConfigError(f"Expected n_examples of at least 1, but got {n}.", where=where, fix="Raise or remove it.")
    if n is None and split is not None:
        raise ConfigError("A split needs n_examples.", where=f"{where}, split", fix="Set n_examples or remove split.")
    return None if n is None else split_examples(n, split, root=root, where=f"{where}, split")


def _accepted(
    function: Callable[..., object], arguments: Mapping[str, object], has_examples: bool, where: str
) -> frozenset[str]:
    """Which of the supplied arguments the function takes, after checking that a call would bind."""
    clash = [key for key in _SUPPLIED if key in arguments]
    if clash:
        raise ConfigError(
            f"The argument {clash[0]!r} is supplied by the program.",
            where=f"{where}, arguments",
            fix="Rename the function's parameter, or remove the argument.",
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-ins have none
        return frozenset()
    accepts = frozenset(key for key in _SUPPLIED if key in signature.parameters)
    if has_examples and "examples" not in accepts:
        raise ConfigError(
            "n_examples is set, but the function has no parameter `examples`, so that splits would have no effect.",
            where=f"{where}, n_examples",
            fix="Give the function a parameter `examples` (indices to score), or remove n_examples.",
        )
    passed = [key for key in accepts if key != "examples" or has_examples]
    try:
        signature.bind(None, **arguments, **dict.fromkeys(passed))
    except TypeError as error:
        raise ConfigError(
            f"The function cannot be called with these arguments: {error}.",
            where=where,
            fix="Correct `arguments`; a function with a parameter `examples` needs n_examples.",
        ) from error
    return accepts

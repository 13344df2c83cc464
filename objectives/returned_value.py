"""What a user's function may return, checked: a number, a number with its standard error, scores, a Score."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Score
from searcher.errors import CandidateError

ACCEPTED = "a number, (value, standard error), an array of per-example scores, or a Score"


def score_of(returned: object, *, objective: str, n_examples: int | None) -> Score:
    """The score that a function's return value means.

    A tuple of two numbers is a value with its standard error; a list or an array of one dimension holds one score
    per example. Numbers may be Python's, numpy's or tensors of one element, never booleans or text. NaN and
    infinity are refused, except that the standard error may be NaN (unknown) and a :class:`Score` may hold NaN for
    examples it leaves out on purpose.

    Args:
        returned: What the function returned.
        objective: Name of the objective, for messages.
        n_examples: Number of examples the function was given; None if the objective has none.

    Raises:
        CandidateError: ``BadReturnValue`` for a wrong type or length, ``NonFiniteScore`` for NaN or infinity.
    """
    try:
        return _Reader(objective, n_examples).read(returned)
    except CandidateError:
        raise
    except Exception as error:  # objects may raise anything when they are looked at
        kind = type(error).__name__
        raise CandidateError(
            "BadReturnValue", f"Objective {objective!r} returned a {type(returned).__name__} that raises {kind}."
        ) from error


class _Reader:
    def __init__(self, objective: str, n_examples: int | None) -> None:
        self._objective, self._n = objective, n_examples

    def read(self, returned: object) -> Score:
        if isinstance(returned, Score):
            return self._whole(returned)
        if isinstance(returned, tuple):
            return self._pair(returned)
        number = _number(returned)
        if number is not None:
            return Score(self._finite(number, "value"))
        return Score.from_examples(self._examples(_array(returned), returned, allow_nan=False))

    def _whole(self, score: Score) -> Score:
        value, stderr = self._pair_of(score.value, score.stderr)
        scores = score.example_scores
        return Score(value, stderr, None if scores is None else self._examples(_array(scores), scores, allow_nan=True))

    def _pair(self, returned: tuple[object, ...]) -> Score:
        if len(returned) != 2:
            self._refuse(f"a tuple of {len(returned)}")
        return Score(*self._pair_of(*returned))

    def _pair_of(self, value: object, stderr: object) -> tuple[float, float]:
        first, second = _number(value), _number(stderr)
        if first is None:
            self._refuse(f"{_described(value)} as the value")
        if second is None:
            self._refuse(f"{_described(stderr)} as the standard error")
        if second < 0:
            self._refuse(f"the negative standard error {second}")
        return self._finite(first, "value"), second if math.isnan(second) else self._finite(second, "standard error")

    def _examples(
        self, scores: NDArray[np.float64] | None, returned: object, *, allow_nan: bool
    ) -> NDArray[np.float64]:
        if scores is None or scores.ndim != 1:
            self._refuse(_described(returned) if scores is None else f"an array of shape {scores.shape}")
        if self._n is None:
            self._refuse(f"{scores.size} per-example scores, but declares no examples; set n_examples")
        if scores.size != self._n:
            self._refuse(f"{scores.size} per-example scores for {self._n} examples")
        broken = np.isinf(scores) if allow_nan else ~np.isfinite(scores)
        if broken.any():
            self._finite(float(scores[broken][0]), f"score of example {int(np.argmax(broken))}")
        return scores

    def _finite(self, number: float, what: str) -> float:
        if not math.isfinite(number):
            raise CandidateError("NonFiniteScore", f"Objective {self._objective!r} returned {number} as {what}.")
        return number

    def _refuse(self, got: str) -> NoReturn:
        raise CandidateError("BadReturnValue", f"Objective {self._objective!r} returned {got}. Return {ACCEPTED}.")


def _number(value: object) -> float | None:
    """A real number as a float; None for anything else, booleans included."""
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, int | float | np.integer | np.floating):
        return _as_float(value)
    array = _array(value) if hasattr(value, "shape") else None  # arrays and tensors without dimensions
    return float(array) if array is not None and array.ndim == 0 else None


def _as_float(value: float | np.integer | np.floating) -> float:
    try:
        return float(value)
    except OverflowError:  # an int beyond the range of floats
        return math.inf


def _array(value: Any) -> NDArray[np.float64] | None:  # noqa: ANN401 - any object may come back from user code
    """A float64 copy of a list, array or tensor of real numbers; None for anything else."""
    if hasattr(value, "detach"):  # a tensor, maybe on a device, maybe bfloat16
        value = value.detach().cpu().double().numpy() if value.dtype.is_floating_point else value.cpu().numpy()
    if isinstance(value, list) and not all(_is_plain(v) for v in value):
        return None
    if not isinstance(value, list | np.ndarray):
        return None
    array = np.asarray(value)
    return np.array(array, dtype=np.float64) if array.dtype.kind in "fiub" and array.size else None


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating)


def _described(value: object) -> str:
    """Type and, if short and harmless, content of a value."""
    kind = type(value).__name__
    if isinstance(value, str | bool | type(None) | np.bool_) and len(repr(value)) <= 60:
        return f"{value!r} ({kind})"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}, {value.dtype}"
    return f"a {kind}"

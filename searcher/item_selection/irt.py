"""Item-response theory: the chance of a right answer from a respondent's ability and an item's difficulty.

The two-parameter model in D dimensions, as in tinyBenchmarks (arXiv 2402.14992) and MERGE3 (arXiv 2502.10436):
``P(y_j = 1 | theta) = sigma(a_j . theta - b_j)``. Where they calibrate items on hundreds of leaderboard models, here
the respondents are the baselines of one run, a dozen or so. So the parameters have strong Gaussian priors, and with
few respondents the model says little more than how many of them got an item right (:attr:`IrtModel.is_informative`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

INFORMATIVE = 30  # respondents; with fewer the discriminations are mostly the prior
_LARGEST_LOGIT = 30.0  # exp does not overflow, and no answer is certain
_ROUNDS = 12  # of fitting items and respondents in turn; more move the chances of answers by less than 0.01
_CLOSE = 1e-2  # change of an ability in a round, in standard deviations of the prior
_DISCRIMINATION_SD = 0.5  # of the prior around 1 in one dimension, around 0 in several
_DIFFICULTY_SD = 2.0


@dataclass(frozen=True, eq=False)
class IrtModel:
    """Items and respondents of a fitted two-parameter model.

    Args:
        discriminations: Shape ``(n_items, D)``.
        difficulties: Shape ``(n_items,)``.
        abilities: Of the respondents it was fitted on, shape ``(R, D)``.
    """

    discriminations: Array
    difficulties: Array
    abilities: Array

    @property
    def is_informative(self) -> bool:
        """Whether there were enough respondents for the discriminations to be more than the prior."""
        return len(self.abilities) >= INFORMATIVE

    def probabilities(self, ability: Array) -> Array:
        """Chance of a right answer to every item, shape ``(n_items,)``, for an ability of shape ``(D,)``."""
        return sigmoid(self.discriminations @ ability - self.difficulties)

    def ability(self, items: NDArray[np.int64], responses: Array) -> Array:
        """The most probable ability given answers in [0, 1] to some items, under a standard normal prior.

        Args:
            items: Which ones, shape ``(m,)``.
            responses: Shape ``(m,)``.

        Returns:
            Shape ``(D,)``.
        """
        n_dimensions = self.discriminations.shape[1]
        found = _fit_logistic(
            self.discriminations[items],
            responses[:, None],
            offset=-self.difficulties[items],
            mean=np.zeros(n_dimensions),
            precision=np.ones(n_dimensions),
        )
        return np.asarray(found[0])

    def interpolated_ability(self, items: NDArray[np.int64], responses: Array, endpoints: NDArray[np.int64]) -> Array:
        """A merge's ability as a combination of those of the models that it merges (MERGE3, eq. 3).

        The paper fits the shares by maximum likelihood from 1/K each; here they have a normal prior of standard
        deviation 1 around that, because a few answers do not determine them.

        Args:
            items: Shape ``(m,)``.
            responses: Answers in [0, 1], shape ``(m,)``.
            endpoints: Which of the respondents are merged, shape ``(K,)``.

        Returns:
            Shape ``(D,)``.
        """
        ends = self.abilities[endpoints]
        shares = _fit_logistic(
            self.discriminations[items] @ ends.T,
            responses[:, None],
            offset=-self.difficulties[items],
            mean=np.full(len(ends), 1 / len(ends)),
            precision=np.ones(len(ends)),
        )[0]
        return np.asarray(shares @ ends)


def fit_irt(responses: Array, n_dimensions: int = 1) -> IrtModel:
    """Fit items and abilities together by penalised maximum likelihood.

    Abilities have a standard normal prior, difficulties a normal one of standard deviation 2, discriminations one of
    0.5 around 1 (in several dimensions, whose axes are interchangeable, around 0). Items and respondents are fitted in
    turn, each a concave problem; every round raises the penalised likelihood.

    Args:
        responses: Answers in [0, 1], shape ``(R, n_items)``; fractions count as that share of a right answer.
        n_dimensions: D.

    Raises:
        ValueError: If a response is not in [0, 1] or there is no respondent.
    """
    if responses.ndim != 2 or len(responses) == 0 or not ((responses >= 0) & (responses <= 1)).all():
        raise ValueError(f"Expected answers in [0, 1] of shape (R, n_items), but got shape {responses.shape}.")
    abilities = _first_abilities(responses, n_dimensions)
    mean = np.append(np.full(n_dimensions, 1.0 if n_dimensions == 1 else 0.0), 0.0)
    precision = np.append(np.full(n_dimensions, _DISCRIMINATION_SD**-2), _DIFFICULTY_SD**-2)
    nought: Array = np.zeros(n_dimensions)
    one: Array = np.ones(n_dimensions)
    items: Array | None = None
    for _ in range(_ROUNDS):
        design = np.column_stack([abilities, -np.ones(len(abilities))])
        items = _fit_logistic(
            design, responses, offset=np.zeros(len(design)), mean=mean, precision=precision, start=items, steps=2
        )
        before, abilities = (
            abilities,
            _fit_logistic(
                items[:, :-1], responses.T, offset=-items[:, -1], mean=nought, precision=one, start=abilities, steps=2
            ),
        )
        if np.abs(abilities - before).max() < _CLOSE:
            break
    assert items is not None
    return IrtModel(items[:, :-1], items[:, -1], abilities)


def _first_abilities(responses: Array, n_dimensions: int) -> Array:
    """Where fitting starts: standardised scores, or the principal axes of the answers; shape ``(R, D)``."""
    centred = responses - responses.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    n_found = min(n_dimensions, sizes.size)
    found = np.zeros((len(responses), n_dimensions))
    found[:, :n_found] = left[:, :n_found] * np.sqrt(len(responses)) * (sizes[:n_found] > 1e-9)
    if n_dimensions == 1:
        scores = responses.mean(axis=1)
        found[:, 0] = (scores - scores.mean()) / (scores.std() or 1.0)
    return found


def sigmoid(logits: Array) -> Array:
    """Logistic function; logits are clipped to +-30."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT))))


def _fit_logistic(
    design: Array,
    responses: Array,
    *,
    offset: Array,
    mean: Array,
    precision: Array,
    start: Array | None = None,
    steps: int = 30,
) -> Array:
    """Logistic regressions of many responses on one design, each with the same normal prior, by Newton's method.

    Args:
        design: Shape ``(N, P)``.
        responses: In [0, 1], shape ``(N, B)``.
        offset: Added to the logits, shape ``(N,)``.
        mean: Of the prior, shape ``(P,)``.
        precision: Of the prior, diagonal, shape ``(P,)``.
        start: First guess, shape ``(B, P)``; the prior's mean if None.
        steps: Of Newton's method, at most.

    Returns:
        Coefficients, shape ``(B, P)``.
    """
    squares: Array = (design[:, :, None] * design[:, None, :]).reshape(len(design), precision.size**2)
    found: Array = np.tile(mean, (responses.shape[1], 1)) if start is None else start
    reached = _penalised(design, responses, offset, mean, precision, found)
    for _ in range(steps):
        chance = sigmoid(design @ found.T + offset[:, None])  # (N, B)
        slope = (responses - chance).T @ design - precision * (found - mean)
        curvature = ((chance * (1 - chance)).T @ squares).reshape(-1, precision.size, precision.size)
        step = np.asarray(np.linalg.solve(curvature + np.diag(precision), slope[:, :, None])[:, :, 0], np.float64)
        found, reached = _line_search(design, responses, offset, mean, precision, found, reached, step)
        if np.abs(step).max() < 1e-6:
            break
    return found


def _line_search(
    design: Array,
    responses: Array,
    offset: Array,
    mean: Array,
    precision: Array,
    found: Array,
    reached: Array,
    step: Array,
) -> tuple[Array, Array]:
    """Go the whole step, or the largest of its halves that is no loss; coefficients ``(B, P)`` and values ``(B,)``."""
    length = np.ones((len(found), 1))
    for _ in range(12):
        there = found + length * step
        value = _penalised(design, responses, offset, mean, precision, there)
        is_worse = value < reached - 1e-12
        if not is_worse.any():
            break
        length[is_worse] /= 2
    kept = np.where(is_worse[:, None], found, there)
    return kept, np.where(is_worse, reached, value)


def _penalised(design: Array, responses: Array, offset: Array, mean: Array, precision: Array, found: Array) -> Array:
    """Log-likelihood plus log-prior of every regression, shape ``(B,)``."""
    logits = np.clip(design @ found.T + offset[:, None], -_LARGEST_LOGIT, _LARGEST_LOGIT)
    fit = responses * logits - np.logaddexp(0, logits)
    return np.asarray(fit.sum(axis=0) - 0.5 * ((found - mean) ** 2 * precision).sum(axis=1))

"""Finding out by trial what may be done to a model: run it without its head, pack its rows, cache its stems.

No list of names decides. A few of the run's own requests are answered both ways with the weights at hand; only what
gives the same numbers is used. A model that gives every token the same probability proves nothing and is asked the
plain way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from searcher.errors import CandidateError
from searcher.language.answers import token_log_probabilities
from searcher.language.decoder import Decoder, window_of
from searcher.language.out_of_memory import is_out_of_memory
from searcher.language.plan import Batch, Question, packed_batches, plain_batches

FLOAT32_TOLERANCE = 1e-3
"""Largest difference of one log-probability in float32, nats."""
HALF_TOLERANCE = 0.1
"""Largest mean difference in 16-bit floats, nats: rounding alone makes a few hundredths."""
INFORMATIVE = {True: 0.01, False: 0.3}
"""Standard deviation of log-probabilities, nats, below which a trial proves nothing; by whether floats are 32-bit."""


@dataclass(frozen=True)
class Abilities:
    """What may be done.

    Args:
        is_split: Body and head may run apart.
        is_packed: Rows may be packed, and stems cached.
        is_certain: Whether this holds for every weights of this class; otherwise the next model is tried again.
    """

    is_split: bool
    is_packed: bool
    is_certain: bool = True


def try_out(decoder: Decoder, questions: Sequence[Question]) -> Abilities:
    """Answer a few questions in all ways.

    Args:
        decoder: With ``is_split`` unknown.
        questions: All that will be asked; the longest, its neighbours and the most different one are used.

    Raises:
        CandidateError: ``NonFiniteLogits`` if the plain way gives a number that is NaN or infinite.
    """
    chosen = _telling(questions)
    whole = Decoder(decoder.module, is_split=False)
    expected = torch.cat([_alone(whole, question) for question in chosen])
    is_informative = len(expected) > 1 and float(expected.std()) > INFORMATIVE[_is_wide(decoder)]
    plain = plain_batches(chosen, budget=1)
    is_split = decoder.is_split and _agrees(Decoder(decoder.module), plain, chosen, expected)
    apart = Decoder(decoder.module, is_split=is_split)
    window = window_of(decoder.module)
    is_packed = window is None or max(len(q.inputs) for q in questions) <= window
    for capacity in (10**9, 1):  # all in one row; every sequence alone after a stem
        is_packed = is_packed and _agrees(
            apart, packed_batches(chosen, capacity=capacity, budget=1, min_stem=1), chosen, expected
        )
    return Abilities(is_split and is_informative, is_packed and is_informative, is_informative)


def _telling(questions: Sequence[Question]) -> list[Question]:
    """The longest question, its neighbours in the order of tokens, and the first and last of that order."""
    ordered = sorted(questions, key=lambda q: q.inputs)
    longest = max(range(len(ordered)), key=lambda i: len(ordered[i].inputs))
    places = {0, len(ordered) - 1, *range(max(0, longest - 1), min(len(ordered), longest + 2))}
    return [ordered[i] for i in sorted(places)]


def _alone(decoder: Decoder, question: Question) -> torch.Tensor:
    """Log-probabilities of the targets, from the module as it is; shape ``(n,)``."""
    logits = decoder.last_logits(torch.tensor(question.inputs), len(question.targets))
    found = logits.log_softmax(-1).gather(1, torch.tensor(question.targets, device=logits.device)[:, None])[:, 0]
    if not bool(found.isfinite().all()):
        raise CandidateError("NonFiniteLogits", f"Request {question.number}: a log-probability is NaN or infinite.")
    return found.double().cpu()


def _agrees(decoder: Decoder, batches: Sequence[Batch], questions: Sequence[Question], expected: torch.Tensor) -> bool:
    """Whether the batches are answered as expected; a model that refuses them does not agree."""
    try:
        by_number = token_log_probabilities(decoder, batches)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return False  # any architecture may raise anything on arguments it does not know
    found = torch.cat([by_number[q.number] for q in questions])
    difference = (found - expected).abs()
    if not bool(found.isfinite().all()):
        return False
    if _is_wide(decoder):
        return float(difference.max()) <= FLOAT32_TOLERANCE
    return float(difference.mean()) <= HALF_TOLERANCE


def _is_wide(decoder: Decoder) -> bool:
    return decoder.dtype in (torch.float32, torch.float64)

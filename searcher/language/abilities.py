"""Finding out by trial what may be done to a model: run it without its head, pack its rows, cache its stems.

No list of names decides. A few short texts cut from the run's own requests are answered both ways with the weights at
hand; only what gives the same numbers is used. A model that gives every token the same probability proves nothing and is
asked the plain way.
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
VARIES = {True: 1e-4, False: 0.05}
"""Standard deviation of log-probabilities, nats, below which a trial proves nothing; by whether floats are 32-bit."""
TRUNK, BRANCH, READ = 24, 16, 8
"""Tokens of the trial texts' common beginning, of their own endings, and tokens of each that are predicted."""


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
    """Answer a few short texts in all ways.

    Args:
        decoder: With ``is_split`` unknown.
        questions: All that will be asked; the texts are cut from them.

    Raises:
        CandidateError: ``NonFiniteLogits`` if the plain way gives a number that is NaN or infinite.
    """
    trial = _trial(questions)
    whole = Decoder(decoder.module, is_split=False)
    expected = torch.cat([_alone(whole, question) for question in trial])
    is_certain = len(expected) > 1 and float(expected.std()) > VARIES[_is_wide(decoder)]
    is_split = is_certain and decoder.is_split
    is_split = is_split and _agrees(Decoder(decoder.module), plain_batches(trial, budget=1), trial, expected)
    window = window_of(decoder.module)
    is_packed = is_certain and (window is None or max(len(q.inputs) for q in questions) <= window)
    apart = Decoder(decoder.module, is_split=is_split)
    for capacity in (10**9, 1):  # all in one row; every text alone after a stem
        is_packed = is_packed and _agrees(
            apart, packed_batches(trial, capacity=capacity, budget=1, min_stem=1), trial, expected
        )
    return Abilities(is_split, is_packed, is_certain)


def _trial(questions: Sequence[Question]) -> list[Question]:
    """Texts with a common beginning and endings of their own, and one without it."""
    ordered = sorted({q.inputs + q.targets[-1:] for q in questions})
    trunk = max(ordered, key=len)[:TRUNK]
    chosen = [ordered[k * (len(ordered) - 1) // 3] for k in range(4)]
    texts = sorted({*(trunk + text[-BRANCH:] for text in chosen), chosen[-1][-TRUNK - BRANCH :]})
    return [Question(k, text[:-1], text[1:][-READ:]) for k, text in enumerate(texts)]


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
        return float(difference.max()) <= min(FLOAT32_TOLERANCE, float(expected.std()) / 10)
    return float(difference.mean()) <= min(HALF_TOLERANCE, float(expected.std()) / 3)


def _is_wide(decoder: Decoder) -> bool:
    return decoder.dtype in (torch.float32, torch.float64)

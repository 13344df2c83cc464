"""What every runner is: requests in tokens are answered by the weights that are in the live model now."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from searcher.language.requests import Continuation, Prompt, Scored
from searcher.merge.live_model import LiveModel
from searcher.registry import Registry

if TYPE_CHECKING:
    import torch

RUNNERS: Registry[type[Runner]] = Registry("runner", "searcher.language")


@dataclass(frozen=True, eq=False)
class Prepared:
    """Requests that many models will answer.

    Args:
        requests: In the order of asking.
        plans: What a runner remembers of how it answers them; depends on tokens and settings, never on weights.
    """

    requests: tuple[Continuation, ...]
    plans: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Number of requests."""
        return len(self.requests)


class Runner(ABC):
    """Answers requests with a live model.

    One runner serves all objectives and candidates of a run. It keeps nothing of a model between two calls: the
    weights may have changed.

    Args:
        max_tokens: Tokens that go through the model at once; None chooses by the device. A runner that runs out of
            memory goes on with half as many.
    """

    def __init__(self, *, max_tokens: int | None = None) -> None:
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"Expected max_tokens of at least 1, but got {max_tokens}.")
        self.max_tokens = max_tokens

    def prepare(self, requests: Sequence[Continuation]) -> Prepared:
        """Take requests, once per run; the result serves every candidate."""
        return Prepared(tuple(requests))

    @abstractmethod
    def score(self, model: LiveModel, prepared: Prepared, chosen: NDArray[np.int64] | None = None) -> Scored:
        """Log-probabilities of the continuations.

        A request longer than the model's context loses tokens from the left, as in lm-eval.

        Args:
            model: Its present weights answer.
            prepared: From :meth:`prepare` of this runner.
            chosen: Shape ``(n,)``, numbers of requests in any order, repeats allowed; None for all. The answers are
                in this order.

        Raises:
            CandidateError: ``NonFiniteLogits`` if a number among those used is NaN or infinite, ``OutOfMemory`` if not
                even one request fits.
            ConfigError: If the model is of a kind that cannot be asked.
        """

    @abstractmethod
    def visit(
        self,
        model: LiveModel,
        prepared: Prepared,
        take: Callable[[int, torch.Tensor], None],
        chosen: NDArray[np.int64] | None = None,
    ) -> None:
        """Show the logits that predict each continuation, one request at a time, in no particular order.

        Args:
            model: Its present weights answer.
            prepared: From :meth:`prepare` of this runner.
            take: Called with a request's number and its logits, float32, shape ``(n_tokens, vocabulary)``; they are
                valid during the call only.
            chosen: As in :meth:`score`; repeats are visited once.

        Raises:
            CandidateError: As :meth:`score`.
            ConfigError: As :meth:`score`.
        """

    @abstractmethod
    def generate(self, model: LiveModel, prompts: Sequence[Prompt]) -> list[str]:
        """The text after each prompt, cut before its first stop string or where the model ends; special tokens are left out.

        Raises:
            CandidateError: As :meth:`score`.
            ConfigError: As :meth:`score`, or if the model has no tokenizer.
        """


def make_runner(name: str = "huggingface", *, max_tokens: int | None = None) -> Runner:
    """Build a runner.

    Args:
        name: ``huggingface`` or ``vllm``.
        max_tokens: See :class:`Runner`.

    Raises:
        UnknownNameError: If there is no such runner; the message names the nearest.
    """
    return RUNNERS.get(name)(max_tokens=max_tokens)

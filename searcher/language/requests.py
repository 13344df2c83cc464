"""What is asked of a language model, in tokens, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Continuation:
    """How likely is this text after that one?

    Args:
        context: Tokens before it, at least one.
        continuation: Tokens to score, at least one.

    Raises:
        ValueError: If either is empty.
    """

    context: tuple[int, ...]
    continuation: tuple[int, ...]

    def __post_init__(self) -> None:
        """Checks that nothing is empty: the first token of a text has no probability."""
        if not self.context or not self.continuation:
            n_context, n_continuation = len(self.context), len(self.continuation)
            raise ValueError(
                "Expected at least one token of context and of continuation, "
                f"but got {n_context} and {n_continuation}; begin with TextEncoder.prefix_token."
            )

    @property
    def tokens(self) -> tuple[int, ...]:
        """Context and continuation."""
        return self.context + self.continuation


@dataclass(frozen=True, eq=False)
class Scored:
    """Answers to n continuation requests, in the order of asking.

    Args:
        log_probability: Shape ``(n,)``, sum over the continuation's tokens, in nats.
        greedy: Shape ``(n,)``, whether every token of it is the most likely one.
        n_tokens: Shape ``(n,)``, tokens of the continuation.
    """

    log_probability: NDArray[np.float64]
    greedy: NDArray[np.bool_]
    n_tokens: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Prompt:
    """What follows this text, always taking the most likely token?

    Args:
        tokens: At least one.
        max_new_tokens: Upper limit of the answer's length, at least 1.
        stop: The answer ends before the first of these strings; it also ends where the model says so.

    Raises:
        ValueError: If there is nothing to start from or nothing to write.
    """

    tokens: tuple[int, ...]
    max_new_tokens: int
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks the numbers; an empty stop string would end every answer at once."""
        if not self.tokens or self.max_new_tokens < 1:
            found = f"{len(self.tokens)} tokens and max_new_tokens {self.max_new_tokens}"
            raise ValueError(f"Expected a prompt of at least one token and one new token, but got {found}.")
        if "" in self.stop:
            raise ValueError("Expected stop strings of at least one character, but one is empty.")

"""One evaluation after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from typing_extensions import override

from searcher.candidate import Candidate, Evaluation
from searcher.executor.base import EXECUTORS, Executor


@EXECUTORS.register("serial")
class Serial(Executor):
    """Evaluations in the searching process itself; the history has no concurrency at all."""

    @property
    @override
    def capacity(self) -> int:
        return 1

    @override
    def map(self, evaluate: Callable[[Candidate], Evaluation], candidates: Sequence[Candidate]) -> Iterator[Evaluation]:
        yield from (evaluate(candidate) for candidate in candidates)

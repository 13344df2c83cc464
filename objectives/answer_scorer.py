"""How generated text is scored: by a function of the user's, or by a regular expression against a reference."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from typing_extensions import override

from searcher.errors import CandidateError, ConfigError
from searcher.objectives.function_reference import load_function, source_file
from searcher.objectives.returned_value import score_of
from searcher.objectives.text_data import Record


class AnswerScorer(ABC):
    """Scores one generated text.

    Attributes:
        files: Files that the scores depend on.
        unit: Unit of the scores.
        score_range: Lowest and highest score; None if there is no such bound.
    """

    files: tuple[Path, ...] = ()
    unit: str = ""
    score_range: tuple[float, float] | None = None

    def check(self, record: Record) -> None:  # noqa: B027 - most scorers take any record
        """Refuse a record that cannot be scored, before anything is generated.

        Raises:
            ConfigError: If it lacks something.
        """

    @abstractmethod
    def score(self, text: str, record: Record) -> float:
        """A finite score of a text that was generated for a record.

        Raises:
            CandidateError: If it cannot be scored.
        """


class FunctionScorer(AnswerScorer):
    """Calls ``function(text, fields)`` with the generated text and the fields of its JSONL line.

    It returns a number or a boolean; anything else, or an exception, fails the candidate. The code is trusted: it runs
    with all rights of the program.

    Args:
        function: ``module:function``, ``path/to/file.py:function``, or the function itself.
        objective: Name of the objective, for messages.
        root: Folder that a relative path resolves against.

    Raises:
        ConfigError: If the function cannot be loaded or does not take two arguments.
    """

    def __init__(self, function: str | Callable[..., object], *, objective: str, root: Path) -> None:
        where = f"objective {objective!r}, function"
        self._objective = objective
        self._function = load_function(function, root=root, where=where) if isinstance(function, str) else function
        source = source_file(self._function)
        self.files = () if source is None else (source,)
        try:
            inspect.signature(self._function).bind("text", {})
        except TypeError as error:
            raise ConfigError(
                f"The function cannot be called with a text and the fields of its line: {error}.",
                where=where,
                fix="Define it as `def score(text, fields)`; it returns a number.",
            ) from error
        except ValueError:  # some built-ins have no signature
            return

    @override
    def score(self, text: str, record: Record) -> float:
        try:
            returned = self._function(text, dict(record.fields))
        except (CandidateError, MemoryError):
            raise
        except Exception as error:
            kind = type(error).__name__
            message = f"Objective {self._objective!r}, {record.place}: the function raised {kind}: {error}"
            raise CandidateError(f"ObjectiveError:{kind}", message) from error
        number = float(returned) if isinstance(returned, bool) else returned
        return score_of(number, objective=self._objective, n_examples=None).value


class RegexScorer(AnswerScorer):
    """1 if what a pattern finds in the text equals the reference, else 0; spaces around either do not count.

    Args:
        pattern: A regular expression; its group, or all of it if it has none, is what is found.
        reference_key: Field of the line with the right answer.
        take: Which match counts if there are several.
        objective: Name of the objective, for messages.

    Raises:
        ConfigError: If the pattern is malformed or has several groups.
    """

    unit = "fraction"
    score_range = (0.0, 1.0)

    def __init__(self, pattern: str, *, reference_key: str, take: Literal["first", "last"], objective: str) -> None:
        self._where = f"objective {objective!r}"
        self._key, self._take = reference_key, take
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise self._malformed(f"it is not a regular expression ({error})") from error
        if self._pattern.groups > 1:
            raise self._malformed(f"it has {self._pattern.groups} groups")

    @override
    def check(self, record: Record) -> None:
        record.text(self._key, f"{self._where}, reference_key")

    @override
    def score(self, text: str, record: Record) -> float:
        found = [match.group(self._pattern.groups) for match in self._pattern.finditer(text)]
        if not found:
            return 0.0
        answer = found[0] if self._take == "first" else found[-1]
        wanted = record.text(self._key, self._where)
        return float(answer is not None and answer.strip() == wanted.strip())

    def _malformed(self, why: str) -> ConfigError:
        fix = r"Write one with one group or none, such as 'answer is (-?\d+)'; put others as (?:...)."
        return ConfigError(f"The pattern cannot be used: {why}.", where=f"{self._where}, regex", fix=fix)


def make_scorer(
    *,
    function: str | Callable[..., object] | None,
    regex: str | None,
    reference_key: str,
    take: Literal["first", "last"],
    objective: str,
    root: Path,
) -> AnswerScorer:
    """The scorer that an objective's settings name.

    Raises:
        ConfigError: If not exactly one of function and regex is given, or it cannot be used.
    """
    if function is not None and regex is None:
        return FunctionScorer(function, objective=objective, root=root)
    if regex is not None and function is None:
        return RegexScorer(regex, reference_key=reference_key, take=take, objective=objective)
    given = "neither" if regex is None else "both"
    raise ConfigError(
        f"Expected a function or a regex that scores the text, but got {given}.",
        where=f"objective {objective!r}",
        fix="Set function: path/to/file.py:function, or regex: with the field of the right answer as reference_key.",
    )

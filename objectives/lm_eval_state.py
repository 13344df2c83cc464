"""Keeping lm-eval to itself: its tasks draw from, and reseed, the global random generators, and talk a lot."""

from __future__ import annotations

import io
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

PYTHON_SEED, OTHER_SEED = 0, 1234  # what lm_eval.simple_evaluate seeds the generators with


@dataclass(frozen=True, eq=False)
class GeneratorState:
    """States of the three global generators: ``random``, NumPy's and torch's."""

    python: Any
    numpy: Any
    torch: torch.Tensor

    @classmethod
    def seeded(cls) -> GeneratorState:
        """What ``simple_evaluate`` seeds them with, found without touching them."""
        import torch

        return cls(
            random.Random(PYTHON_SEED).getstate(),
            np.random.RandomState(OTHER_SEED).get_state(),  # the global generator's form
            torch.Generator().manual_seed(OTHER_SEED).get_state(),
        )

    @classmethod
    def present(cls) -> GeneratorState:
        """What they are now."""
        import torch

        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state())  # noqa: NPY002

    def install(self) -> None:
        """Make them this."""
        import torch

        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        torch.set_rng_state(self.torch)


@contextmanager
def harness_generators() -> Iterator[None]:
    """Run lm-eval's code: its generators start from its seeds, and those of the program are as before afterwards.

    Tasks may shuffle answers with ``random`` when their documents are read, so the same documents come out on every
    call, as they do from ``simple_evaluate``. Generators of CUDA devices are put back too.
    """
    import torch

    before = GeneratorState.present()
    is_used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = torch.cuda.get_rng_state_all() if is_used else None
    GeneratorState.seeded().install()
    try:
        yield
    finally:
        before.install()
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)


@contextmanager
def harness() -> Iterator[None]:
    """Run lm-eval's code: with its own random numbers, in silence, each template compiled once."""
    with harness_generators(), quiet(), _compiled_once():
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back lm-eval's progress bars and its remarks below the level of errors."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _compiled_once() -> Iterator[None]:
    """Keep compiled templates: lm-eval compiles one anew for each field of each document, at two milliseconds."""
    from lm_eval.utils import env

    env.from_string = _remembering(env)
    try:
        yield
    finally:
        del env.from_string  # the method of the class is seen again


@cache
def _remembering(environment: Any) -> Any:  # noqa: ANN401 - a jinja2.Environment and its method
    return lru_cache(maxsize=1024)(type(environment).from_string.__get__(environment))

"""Computations with torch that neither see nor leave traces of the rest of the process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from botorch.acquisition.multi_objective import logei


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Run BoTorch as a function of its arguments and ``seed`` alone.

    Torch's global generator is seeded and put back. One thread: sums over another number of threads round
    differently, and matrices of some hundred rows gain nothing from more. BoTorch's compiled kernel is off: whether
    there is a compiler, and for which processor it compiles, must not change the proposals of a run.
    Warnings are recorded and dropped, because BoTorch shows some of its own whatever the filters say.
    """
    threads, kernel = torch.get_num_threads(), (logei._C, logei._load_attempted)
    logei._C, logei._load_attempted = None, True
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), warnings.catch_warnings(record=True):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
        logei._C, logei._load_attempted = kernel

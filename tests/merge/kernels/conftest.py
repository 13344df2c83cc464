"""One folder of compiled kernels per session, so that each is compiled once and none is left at home."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def kernel_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEARCHER_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield

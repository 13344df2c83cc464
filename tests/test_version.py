"""The version is one number, wherever it is asked for."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.version import Version

import searcher
from searcher.version import __version__


def test_it_is_a_release_number() -> None:
    assert searcher.__version__ == __version__
    assert str(Version(__version__)) == __version__  # normal form of PEP 440


def test_the_installed_distribution_has_it() -> None:
    try:
        installed = version("merge-searcher")
    except PackageNotFoundError:
        pytest.skip("run from a clone, not installed")
    assert installed == __version__

"""The examples in the core's own text."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import worker.core

MODULES = [module.name for module in pkgutil.iter_modules(worker.core.__path__)]
WITHOUT = {"availability", "listing", "manifest", "recommender", "release", "verification"}
"""Their shortest example would be longer than a test."""


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_text_are_true(name: str) -> None:
    """Each module's examples run and print what stands there; none has lost them."""
    found = doctest.testmod(importlib.import_module(f"worker.core.{name}"))

    assert found.failed == 0
    assert (found.attempted == 0) == (name in WITHOUT)

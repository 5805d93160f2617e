"""What a machine may lack: its tests are skipped with the reason, and fail under ``CI=true``, so that no green run has
left them out."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["CI", "unavailable"]

CI = os.environ.get("CI", "").lower() in {"1", "true"}


def unavailable(reason: str) -> NoReturn:
    """End the test, or the fixture, that needs what is not there; ``reason`` says what, and how to get it."""
    if CI:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)

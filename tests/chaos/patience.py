"""Waiting for what comes for sure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_TO_BE_PATIENT: Final = 120


def eventually(is_so: Callable[[], bool], what: str) -> None:
    """Raises AssertionError where it doesn't come."""
    until = time.monotonic() + _TO_BE_PATIENT
    while not is_so():
        assert time.monotonic() < until, f"waited {_TO_BE_PATIENT} seconds for {what}"
        time.sleep(0.05)

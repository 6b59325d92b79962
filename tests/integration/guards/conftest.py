from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.integration.guards.held import PEOPLE, T
from tests.world import World


@pytest.fixture
def world(engine: Engine) -> World:
    """Ten people who ordered at T: all are members for 30 days."""
    made = World(engine)
    for name in PEOPLE:
        made.person(name, emails=(f"{name}@x.io",))
        made.event(name, "Order Completed", T)
    return made

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.factories.outbox import Outbox


@pytest.fixture
def outbox(engine: Engine, database_url: str) -> Iterator[Outbox]:
    made = Outbox(engine, database_url)
    yield made
    made.close()

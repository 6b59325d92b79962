from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import Engine

from tests.integration.api.serving import WRITE_KEY, Serving, serving


@pytest.fixture
def served(engine: Engine) -> Iterator[Serving]:
    with serving(engine) as running:
        yield running


@pytest.fixture
def client(served: Serving) -> Iterator[httpx.Client]:
    """Authenticated as the source `web`."""
    with httpx.Client(base_url=served.url, auth=(WRITE_KEY, "")) as made:
        yield made


@pytest.fixture
def anonymous(served: Serving) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url) as made:
        yield made


class Inbox:
    """The inbox as another connection sees it: committed rows only."""

    def __init__(self, url: str) -> None:
        self._url = url

    def calls(self) -> list[dict[str, Any]]:
        return [call for _, call in self.rows()]

    def rows(self) -> list[tuple[str, dict[str, Any]]]:
        """(source, call) in the order of arrival."""
        with psycopg.connect(self._url) as connection:
            return connection.execute(
                "SELECT sources.slug, inbox.call FROM inbox JOIN sources ON sources.id = inbox.source_id"
                " ORDER BY inbox.id"
            ).fetchall()


@pytest.fixture
def inbox(database_url: str) -> Inbox:
    return Inbox(database_url)

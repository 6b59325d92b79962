"""People with several emails, in projects of each type: whom the destination takes them for."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from engage_sync.sandbox.options import ProjectType
from engage_sync.sandbox.server import Options, SandboxServer
from tests.factories.shop import Shop, identify, track
from tests.world import audience

BOUGHT = "event('Order Completed').count() >= 1"


def told(engine: Engine, url: str, project_type: ProjectType) -> tuple[list[dict[str, Any]], list[Any]]:
    """The bodies that a person's two emails were told of by, in their order; the dead letters."""
    with SandboxServer(Options(project_type=project_type)) as sandbox:
        shop = Shop(engine, url, sandbox, project_type=project_type)
        shop.context.routes.sources.clear()  # type: ignore[attr-defined]
        shop.apply(audience("bought", BOUGHT))
        shop.process(identify("u1", "first@x.io"), identify("u1", "second@x.io"), track("Order Completed", "u1"))
        bodies = sorted((request["body"] for request in sandbox.requests()), key=lambda body: str(body["email"]))
        return bodies, shop.dead_letters()


@pytest.mark.parametrize("project_type", ["hybrid", "user_id"])
def test_where_the_user_id_tells_users_apart_it_goes_along_with_the_first_email_alone(
    engine: Engine, database_url: str, project_type: ProjectType
) -> None:
    bodies, dead_letters = told(engine, database_url, project_type)
    assert [(body["email"], body.get("userId")) for body in bodies] == [("first@x.io", "u1"), ("second@x.io", None)]
    # Where only user ids make users, nobody has the second email: that is said, and the first one's user is left alone.
    assert [letter[0] for letter in dead_letters] == (["second@x.io"] if project_type == "user_id" else [])


def test_where_the_email_tells_users_apart_it_goes_along_with_each(engine: Engine, database_url: str) -> None:
    bodies, dead_letters = told(engine, database_url, "email")
    assert [(body["email"], body.get("userId")) for body in bodies] == [("first@x.io", "u1"), ("second@x.io", "u1")]
    assert dead_letters == []

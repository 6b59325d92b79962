"""A copy of the database says nothing to anybody until somebody says that it may."""

from __future__ import annotations

from datetime import timedelta

import psycopg
from sqlalchemy.engine import make_url

from tests.acceptance.test_commands import RECENT, Shop, T, identify, order, shop

__all__ = ["shop"]


def test_a_clone_is_silent_until_it_is_adopted(shop: Shop) -> None:
    shop.audience("recent", RECENT)
    shop.run("apply", "--yes")
    shop.run("import", shop.calls(*identify("u1", "a@x.io"), order("u1", T)))
    shop.run("sync", "--as-of", T.isoformat())
    assert shop.fields("a@x.io") == {"recent": True}

    original = make_url(shop.environment["ENGAGE_SYNC_DATABASE_URL"])
    copy = original.set(database=f"{original.database}_copy")
    with psycopg.connect(original.set(database="postgres").render_as_string(False), autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{copy.database}" TEMPLATE "{original.database}"'.encode())
    shop.environment["ENGAGE_SYNC_DATABASE_URL"] = copy.render_as_string(False)
    try:
        later = T + timedelta(hours=1)
        shop.run("import", shop.calls(*identify("u2", "b@x.io"), order("u2", T)))
        shop.run("sync", "--as-of", later.isoformat())
        assert shop.fields("b@x.io") == {}
        found = shop.json("doctor", code=1)
        assert [each["ok"] for each in found if "--adopt-copy" in each["detail"]] == [False]
        assert "--adopt-copy" in shop.run("resume", "iterable", code=2).stderr
        shop.run("doctor", "--adopt-copy", "--json")
        shop.run("deliver", "--until-empty")
        assert shop.fields("b@x.io") == {"recent": True}
    finally:
        with psycopg.connect(original.set(database="postgres").render_as_string(False), autocommit=True) as server:
            server.execute(f'DROP DATABASE "{copy.database}" WITH (FORCE)'.encode())

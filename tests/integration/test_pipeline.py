"""Statements that go together: their answers, their failures, and lists as arrays."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from engage_sync.database import pipeline
from engage_sync.database.pipeline import Query

TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
ELEMENTS = [
    ("text", TEXTS | st.sampled_from(["NULL", "", " a ", '"', "\\", "{}", "a,b"])),
    ("bigint", st.integers(-(2**63), 2**63 - 1)),
    ("boolean", st.booleans()),
    ("float8", st.floats(allow_nan=False)),
    ("timestamptz", INSTANTS),
    ("bytea", st.binary(max_size=8)),
]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_list_is_the_array_that_it_was(engine: Engine, data: st.DataObject) -> None:
    type_, elements = data.draw(st.sampled_from(ELEMENTS))
    given_: list[Any] = data.draw(st.lists(st.none() | elements))
    with engine.connect() as connection:
        rows = pipeline.rows(
            connection, text(f"SELECT element FROM unnest(CAST(:given AS {type_}[])) AS element"), {"given": given_}
        )
    assert [row.element for row in rows] == given_


def test_each_statement_sees_what_those_before_it_did(engine: Engine) -> None:
    with engine.begin() as connection:
        first, _, second = pipeline.ask_each(
            connection,
            [
                Query("SELECT count(*) FROM sources", {}, lambda rows: rows[0].count),
                Query(text("INSERT INTO sources (slug) VALUES (:slug)"), {"slug": "web"}, pipeline.nothing),
                Query("SELECT slug FROM sources WHERE slug = %(slug)s", {"slug": "web"}, lambda rows: rows[0].slug),
            ],
        )
    assert (first, second) == (0, "web")


def test_one_that_fails_undoes_those_before_it_and_is_told_as_any_other(engine: Engine) -> None:
    insert: Query[None] = Query(text("INSERT INTO sources (slug) VALUES ('web')"), {}, pipeline.nothing)
    with pytest.raises(DBAPIError, match="duplicate key"), engine.begin() as connection:
        pipeline.ask_each(connection, [insert, insert])
    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM sources")).scalar_one() == 0

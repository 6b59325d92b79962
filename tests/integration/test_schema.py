"""The migrations and the tables are one schema, and the typed reading of JSON takes what the language takes."""

from __future__ import annotations

import warnings

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text

from engage_sync.database import migrate
from engage_sync.database.tables import metadata


def _is_ours(item: object, name: str | None, kind: str, reflected: bool, _compare_to: object) -> bool:
    table = name if kind == "table" else getattr(getattr(item, "table", None), "name", "")
    return not (reflected and ("_p2" in str(table) or str(table).endswith("_default") or table == "alembic_version"))


def test_upgrading_an_empty_database_gives_exactly_the_tables(engine: Engine) -> None:
    with engine.connect() as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy doesn't know xid8 and pg_snapshot
        context = MigrationContext.configure(
            connection, opts={"include_object": _is_ours, "compare_type": False, "compare_server_default": False}
        )
        assert compare_metadata(context, metadata) == []


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    migrate.upgrade(engine)
    with engine.connect() as connection:
        migrate.require_current(connection)
        assert connection.execute(text("SELECT count(*) FROM installation")).scalar_one() == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", "1"), ('"120"', "120"), ('"1e3"', "1000"), ('".5"', "0.5"), ('"-2.50"', "-2.50"), ("0.1", "0.1"),
        ('"n/a"', None), ("true", None), ('"1_000"', None), ('"NaN"', None), ('"infinity"', None), ('""', None),
        ("null", None), ("[1]", None), ('{"a": 1}', None), ('" 1"', None), ('"0x10"', None),
    ],
)  # fmt: skip
def test_numbers_are_json_numbers_and_strings_that_read_fully_as_one(
    engine: Engine, value: str, expected: str | None
) -> None:
    with engine.connect() as connection:
        read = connection.execute(text("SELECT engage_number(CAST(:value AS jsonb))::text"), {"value": value}).scalar()
    assert read == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"2023-02-28"', "2023-02-28 00:00:00+00"),
        ('"2024-02-29T10:00:00Z"', "2024-02-29 10:00:00+00"),
        ('"2024-02-29 10:00:00.123+05:30"', "2024-02-29 04:30:00.123+00"),
        ('"2024-02-29T10:00"', "2024-02-29 10:00:00+00"),
        ('"2023-01-01 10:00:00 +00:00"', "2023-01-01 10:00:00+00"),
        ("1700000000", "2023-11-14 22:13:20+00"),
        ("1700000000000", "2023-11-14 22:13:20+00"),
        ('"2023-02-31"', None), ('"now"', None), ('"2023"', None), ('"2023-01-01T25:00:00"', None),
        ('"infinity"', None), ("true", None), ("null", None),
    ],
)  # fmt: skip
def test_dates_are_iso_8601_or_unix_times(engine: Engine, value: str, expected: str | None) -> None:
    with engine.connect() as connection:
        read = connection.execute(text("SELECT engage_instant(CAST(:value AS jsonb))::text"), {"value": value}).scalar()
    assert read == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "0.0"), ("120", "120.0"), ("0.1", "0.1"), ("-5", "-5.0"), ("1e-7", "0.0000001"),
        ("33.333333333333333333333", "33.3333333333333"), ("123456789012345678", "123456789012346000.0"),
    ],
)  # fmt: skip
def test_numbers_leave_with_a_decimal_point_and_at_most_15_digits(engine: Engine, value: str, expected: str) -> None:
    with engine.connect() as connection:
        read = connection.execute(text("SELECT engage_float(CAST(:value AS numeric))::text"), {"value": value}).scalar()
    assert read == expected

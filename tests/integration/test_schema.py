"""The migrations and the tables are one schema, and the typed reading of JSON takes what the language takes."""

from __future__ import annotations

import warnings

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from engage_sync import errors
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


def test_the_newest_revision_is_alembics(engine: Engine) -> None:
    assert migrate.head_revision() == ScriptDirectory.from_config(migrate.configuration()).get_current_head()
    with engine.connect() as connection:
        assert migrate.current_revision(connection) == migrate.head_revision()
        connection.execute(text("DROP TABLE alembic_version"))
        assert migrate.current_revision(connection) is None


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    migrate.upgrade(engine)
    with engine.connect() as connection:
        migrate.require_compatible(connection)
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


def _is_at(engine: Engine, revision: str, *, compatible_since: str | None) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
        given = {"since": compatible_since}
        connection.execute(text("UPDATE installation SET compatible_since = :since"), given)


def test_a_newer_schema_is_worked_on_where_it_says_so_and_left_as_it_is(engine: Engine) -> None:
    head = migrate.head_revision()
    _is_at(engine, "9999", compatible_since=head)
    migrate.upgrade(engine)
    with engine.connect() as connection:
        migrate.require_compatible(connection)
        assert migrate.current_revision(connection) == "9999"
    _is_at(engine, "9999", compatible_since="9998")
    with engine.connect() as connection, pytest.raises(errors.SchemaTooNew, match=f"9998; this one ends with {head}"):
        migrate.require_compatible(connection)
    with pytest.raises(errors.SchemaTooNew):
        migrate.upgrade(engine)


def test_an_older_schema_is_waited_for(engine: Engine) -> None:
    _is_at(engine, "0015", compatible_since=None)
    with engine.connect() as connection, pytest.raises(errors.DatabaseUnavailable, match="engage-sync migrate"):
        migrate.require_compatible(connection)


def test_a_migrated_database_says_who_may_run_on_it(engine: Engine) -> None:
    with engine.connect() as connection:
        since = connection.execute(text("SELECT compatible_since FROM installation")).scalar_one()
    assert since == migrate.COMPATIBLE_SINCE

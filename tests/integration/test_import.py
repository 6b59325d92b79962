from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import Engine

from engage_sync import errors
from engage_sync.ingest.mapping import RowMapping
from engage_sync.sync.ingest import ImportOptions, ImportReport, import_files
from tests.integration.resolving import people, person, rows

ORDERS = RowMapping(as_="track", event="Order Completed", user_id="customer", email="mail", timestamp="at")


def load(engine: Engine, path: Path, mapping: RowMapping | None = None, **options: Any) -> ImportReport:
    return import_files(engine, [path], 1, {}, ImportOptions(mapping=mapping, **options))


def lines(path: Path, *calls: object) -> Path:
    path.write_text("".join((call if isinstance(call, str) else json.dumps(call)) + "\n" for call in calls))
    return path


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.read, report.stored, report.duplicates, report.rejected


def test_json_lines_are_stored_once(engine: Engine, tmp_path: Path) -> None:
    bought = {"type": "track", "event": "Bought", "userId": "u", "timestamp": "2020-01-01T00:00:00Z"}
    path = lines(tmp_path / "calls.jsonl", {**bought, "messageId": "m"}, bought, "", bought)
    assert counts(load(engine, path)) == (3, 3, 0, 0)
    assert counts(load(engine, path)) == (3, 0, 3, 0)
    assert people(engine) == [person(["user_id:u"], events=["Bought"] * 3)]
    assert rows(engine, "SELECT DISTINCT timestamp FROM events") == [(datetime(2020, 1, 1, tzinfo=UTC),)]
    assert not (tmp_path / "calls.jsonl.rejects.jsonl").exists()


def test_gzip_is_read(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "calls.ndjson.gz"
    path.write_bytes(gzip.compress(b'{"type": "identify", "userId": "u", "traits": {"plan": "pro"}}'))
    assert counts(load(engine, path)) == (1, 1, 0, 0)
    assert people(engine) == [person(["user_id:u"], traits={"plan": "pro"})]


def test_bad_rows_are_written_down_and_the_others_stored(engine: Engine, tmp_path: Path) -> None:
    good = {"type": "track", "event": "E", "userId": "u"}
    path = lines(
        tmp_path / "calls.jsonl", good, "{oops", {"type": "track", "event": "E"}, {**good, "timestamp": "soon"}, good
    )
    reports: list[ImportReport] = []
    options = ImportOptions(batch_size=2)
    report = import_files(engine, [path], 1, {}, options, progress=reports.append)
    assert counts(report) == (5, 2, 0, 3)
    assert [seen.read for seen in reports] == [2, 4, 5]
    rejects = [json.loads(line) for line in (tmp_path / "calls.jsonl.rejects.jsonl").read_text().splitlines()]
    assert [reject["row"] for reject in rejects] == [2, 3, 4]
    assert rejects[0]["call"] == "{oops"
    assert [reject["reason"].split(":")[0] for reject in rejects] == ["body", "userId", "timestamp"]


def test_rows_of_a_csv_become_events(engine: Engine, tmp_path: Path) -> None:
    path = lines(
        tmp_path / "orders.csv",
        "customer,mail,at,total,coupon,note",
        "007,A@x.io,2024-05-01 10:00:00,12.5,,hi",
        "8,b@x.io,2024-05-01T10:00:00+02:00,7,X,",
        "8,b@x.io,2024-05-01T10:00:00+02:00,7,X,",
    )
    assert counts(load(engine, path, ORDERS)) == (3, 3, 0, 0)
    assert counts(load(engine, path, ORDERS)) == (3, 0, 3, 0)
    assert people(engine) == [
        person(["user_id:007", "email:a@x.io"], events=["Order Completed"]),
        person(["user_id:8", "email:b@x.io"], events=["Order Completed"] * 2),
    ]
    assert [tuple(row) for row in rows(engine, "SELECT properties, timestamp FROM events ORDER BY id LIMIT 2")] == [
        ({"total": 12.5, "note": "hi"}, datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ({"total": 7.0, "coupon": "X"}, datetime(2024, 5, 1, 8, tzinfo=UTC)),
    ]


def test_chosen_columns_get_their_names(engine: Engine, tmp_path: Path) -> None:
    path = lines(tmp_path / "people.tsv", "id\tplan\tseen\tmid", "u\tpro\t1714557600\tm1", "v\tfree\t1714557600000\tm1")
    mapping = RowMapping(
        as_="identify", user_id="id", timestamp="seen", message_id="mid", traits=(("plan", "Plan Name"),)
    )
    assert counts(load(engine, path, mapping)) == (2, 1, 1, 0)
    assert people(engine) == [person(["user_id:u"], traits={"Plan Name": "pro"})]
    assert rows(engine, "SELECT timestamp FROM traits") == [(datetime(2024, 5, 1, 10, tzinfo=UTC),)]


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl"])
def test_typed_rows_keep_their_types(engine: Engine, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with duckdb.connect() as database:
        database.execute(
            "COPY (SELECT 7 AS customer, 'a@x.io' AS mail, TIMESTAMP '2024-05-01 10:00:00' AS at, true AS gift,"
            " [{'sku': 'a', 'price': 1.5}] AS products, 'ä\"\\' AS note, NULL AS empty)"
            f" TO '{path}' (FORMAT {'parquet' if name.endswith('t') else 'json'})"
        )
    assert counts(load(engine, path, ORDERS)) == (1, 1, 0, 0)
    ((properties, timestamp),) = rows(engine, "SELECT properties, timestamp FROM events")
    assert properties == {"gift": True, "products": [{"sku": "a", "price": 1.5}], "note": 'ä"\\'}
    assert timestamp == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert people(engine)[0]["identities"] == ["user_id:7", "email:a@x.io"]


def test_bad_rows_of_a_csv_are_written_down(engine: Engine, tmp_path: Path) -> None:
    path = lines(
        tmp_path / "o.csv",
        "customer,mail,at,total",
        "1,,soon,3",
        "2,,2024-01-01,4",
        "3,,2024-01-01,5,6,7",
        ",,2024-01-01,1",
    )
    report = load(engine, path, ORDERS)
    assert counts(report) == (4, 1, 0, 3)
    rejects = [json.loads(line) for line in (tmp_path / "o.csv.rejects.jsonl").read_text().splitlines()]
    assert sorted(reject["reason"].split(" ")[0] for reject in rejects)[1:] == ["timestamp:", "userId:"]


def test_unreadable_line_among_rows_is_written_down(engine: Engine, tmp_path: Path) -> None:
    row = {"customer": 7, "at": "2024-05-01T10:00:00Z", "total": 1, "mail": None}
    path = lines(tmp_path / "rows.jsonl", row, "{oops", [1], {**row, "customer": None}, row)
    assert counts(load(engine, path, ORDERS)) == (5, 2, 0, 3)
    assert counts(load(engine, path, ORDERS)) == (5, 0, 2, 3)
    rejects = [json.loads(line) for line in (tmp_path / "rows.jsonl.rejects.jsonl").read_text().splitlines()]
    assert [(reject["row"], reject["reason"].split(":")[0]) for reject in rejects] == [
        (2, "body"),
        (3, "row"),
        (4, "userId"),
    ]


def test_endless_line_does_not_stop_the_others(engine: Engine, tmp_path: Path) -> None:
    call = {"type": "track", "event": "E", "userId": "u"}
    path = lines(tmp_path / "calls.jsonl", "x" * 3_000_000, call)
    assert counts(load(engine, path)) == (2, 1, 0, 1)


def test_missing_column_is_named_with_those_there_are(engine: Engine, tmp_path: Path) -> None:
    path = lines(tmp_path / "o.csv", "a,b", "1,2")
    with pytest.raises(errors.UsageError, match=r"there is no column 'customer'\. It has: a, b"):
        load(engine, path, ORDERS)


@pytest.mark.parametrize("name", ["calls.csv", "calls.xlsx", "missing.jsonl"])
def test_file_that_can_not_be_read_so_is_wrong_usage(engine: Engine, tmp_path: Path, name: str) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_text("a,b\n")
    with pytest.raises(errors.UsageError):
        load(engine, tmp_path / name)

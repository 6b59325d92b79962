from __future__ import annotations

from engage_sync.ingest.repetitions import RowIds


def test_equal_rows_differ_by_how_many_came_before() -> None:
    first, second = RowIds(), RowIds()
    contents = [b"a", b"b", b"a", b"a", b"b"]
    ids = [first.of(content) for content in contents]
    assert len(set(ids)) == 5
    assert [second.of(content) for content in contents] == ids


def test_many_rows_are_remembered() -> None:
    ids = RowIds()
    seen = {ids.of(str(number).encode()) for number in range(100_000)}
    assert seen.isdisjoint(ids.of(str(number).encode()) for number in range(100_000))

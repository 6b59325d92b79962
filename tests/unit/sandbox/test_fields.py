from __future__ import annotations

from typing import Any

import pytest

from engage_sync.sandbox.answers import Failure
from engage_sync.sandbox.fields import FieldTypes


def types(*values: Any, strict_numbers: bool = True) -> list[str | None]:
    """What each value of one field, one after the other, is refused with; None where it is taken."""
    known = FieldTypes(strict_numbers=strict_numbers)
    answers: list[str | None] = []
    for value in values:
        found = known.read({"f": value})
        answers.append(found.code if isinstance(found, Failure) else None)
        if not isinstance(found, Failure):
            known.fix(found)
    return answers


REFUSED = "RequestFieldsTypesMismatched"


@pytest.mark.parametrize("value", ["x", "2023-02-05 20:42:10 +00:00", 1, 1.5, True, {"a": 1}, ["x"], [1], [{"a": 1}]])
def test_first_value_fixes_the_type(value: Any) -> None:
    others: list[Any] = ["x", 1, 1.5, True, {"b": 1}, [1.5]]
    for other in others:
        expected = None if _same(value, other) else REFUSED
        assert types(value, value, other) == [None, None, expected], other


def _same(value: Any, other: Any) -> bool:
    return type(value) is type(other) and (not isinstance(value, str) or value == "x") and not isinstance(value, list)


def test_whole_numbers_and_doubles_are_two_types() -> None:
    assert types(1, 1.0) == [None, REFUSED]
    assert types(1.0, 1) == [None, REFUSED]
    assert types(1.0, 1, strict_numbers=False) == [None, None]
    assert types(1, 1.0, strict_numbers=False) == [None, REFUSED]


def test_a_date_is_text_where_text_came_first() -> None:
    assert types("x", "2023-02-05 20:42:10 +00:00") == [None, None]
    assert types("2023-02-05 20:42:10 +00:00", "x") == [None, REFUSED]


def test_null_and_empty_arrays_fix_nothing() -> None:
    assert types(None, [], 1, None, []) == [None] * 5


def test_fields_in_objects_have_types_of_their_own() -> None:
    assert types({"a": 1}, {"a": "x"}) == [None, REFUSED]
    assert types([{"a": 1}], [{"b": "x"}, {"a": "x"}]) == [None, REFUSED]
    assert types([1, "x"]) == [REFUSED]


def test_a_mismatch_names_field_and_types() -> None:
    known = FieldTypes(strict_numbers=True)
    known.fix({"total": "double"})
    failure = known.read({"total": "12", "fresh": 1})
    assert isinstance(failure, Failure)
    assert failure.params == {
        "validationErrors": {
            "sandbox:::total": {
                "incomingTypes": ["string"],
                "expectedType": "double",
                "category": "user",
                "offendingValue": "12",
                "_type": "UnexpectedType",
            }
        }
    }
    assert known.known() == {"total": "double"}

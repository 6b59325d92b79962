from __future__ import annotations

from typing import Any

import pytest

from engage_sync.destinations.iterable.joining import MOST, joined
from engage_sync.destinations.protocol import Request


def update(email: str = "a@x.io", *, path: str = "/api/users/update", merge: bool = False, **fields: Any) -> Request:
    body = {"email": email, "dataFields": {"email": email, **fields}, "mergeNestedObjects": merge}
    return Request(method="POST", path=path, body=body, budget="identify")


def test_updates_of_one_user_become_one_and_the_later_one_holds() -> None:
    assert joined([update(bought=True, spent=1.0), update(spent=2.0)]) == update(bought=True, spent=2.0)


@pytest.mark.parametrize(
    "others",
    [
        [update("b@x.io")],
        [update(path="/api/events/track")],
        [update(merge=True)],
        [update(**{f"f{number}": 1}) for number in range(MOST)],
    ],
    ids=["another user", "something else", "written otherwise", "too many"],
)
def test_what_stays_apart(others: list[Request]) -> None:
    assert joined([update(bought=True), *others]) is None


def test_objects_that_are_merged_stay_apart_where_they_are_the_same_field() -> None:
    assert joined([update(merge=True, a={"x": 1}), update(merge=True, a={"y": 1})]) is None
    assert joined([update(merge=True, a={"x": 1}), update(merge=True, b={"y": 1})]) is not None

from __future__ import annotations

from typing import Any

import pytest

from engage_sync.destinations import integrations

NAMES = ("crm", "Iterable")


@pytest.mark.parametrize(
    ("said", "is_left_out"),
    [
        (None, False),
        ({}, False),
        ("none", False),
        ({"All": False}, True),
        ({"all": False}, True),
        ({"All": None}, False),
        ({"Iterable": False}, True),
        ({"iterable": False}, True),
        ({"CRM": False}, True),
        ({"All": False, "Iterable": True}, False),
        ({"All": False, "Iterable": {}}, False),
        ({"All": False, "Iterable": None}, True),
        ({"All": False, "Other": True}, True),
        # The destination's own name goes before that of its kind.
        ({"Iterable": False, "crm": True}, False),
        ({"Iterable": True, "crm": False}, True),
    ],
)
def test_a_call_names_the_destinations_that_it_is_for(said: Any, is_left_out: bool) -> None:
    assert integrations.leaves_out({"integrations": said}, NAMES) is is_left_out


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, {}),
        ({"Iterable": True}, {}),
        ({"iterable": {"x": 1}}, {"x": 1}),
        ({"Iterable": {"x": 1}, "Crm": {"x": 2}}, {"x": 2}),
        ({"Iterable": {"x": 1}, "crm": True}, {"x": 1}),
    ],
)
def test_options_are_those_under_its_name(said: Any, expected: dict[str, Any]) -> None:
    assert integrations.options({"integrations": said}, NAMES) == expected

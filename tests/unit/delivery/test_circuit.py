from __future__ import annotations

import pytest

from engage_sync.delivery.circuit import Circuit
from engage_sync.destinations.protocol import Delivered, Outcome, Rejected, Retry, Unauthorized
from engage_sync.outbox.outages import Kind

DOWN = Retry(reason="500 down")
SLOW_DOWN = Retry(reason="429", is_throttled=True)


def after(seconds: float, people: int, *outcomes: Outcome, each_second: int = 10) -> Circuit:
    """These outcomes in turn, of these people in turn, for so many seconds."""
    circuit = Circuit()
    for number in range(int(seconds * each_second)):
        circuit.note(number % people, outcomes[number % len(outcomes)], number / each_second)
    return circuit


@pytest.mark.parametrize(
    ("seconds", "people", "outcomes", "is_trouble"),
    [
        (6, 20, (DOWN,), True),
        (4, 20, (DOWN,), False),  # a hiccup
        (6, 9, (DOWN,), False),  # few people may be to blame themselves
        (61, 3, (DOWN,), True),
        (1801, 1, (DOWN,), True),
        (1700, 2, (DOWN,), False),
        (6, 40, (*[DOWN] * 39, Delivered()), True),  # nearly all
        (6, 20, (*[DOWN] * 9, Delivered()), False),
        (20, 20, (SLOW_DOWN,), False),  # it lives
        (70, 20, (SLOW_DOWN,), True),
        (20, 20, (Rejected(reason="no"),), False),
        (20, 20, (Unauthorized(reason="no"),), False),
    ],
)
def test_when_a_destination_is_in_trouble(
    seconds: float, people: int, outcomes: tuple[Outcome, ...], is_trouble: bool
) -> None:
    trouble = after(seconds, people, *outcomes).trouble(seconds)
    assert (trouble is not None) is is_trouble
    if trouble is not None:
        assert trouble.kind is Kind.FAILING
        assert outcomes[0].reason in trouble.reason  # type: ignore[union-attr]


def test_it_is_in_trouble_since_its_last_delivery() -> None:
    circuit = after(100, 3, DOWN, each_second=1)
    assert circuit.trouble(100).ago == 100  # type: ignore[union-attr]
    circuit.note(1, Delivered(), 100)
    assert circuit.trouble(101) is None


def test_what_hangs_answers_late_and_is_noticed_all_the_same() -> None:
    """Ten seconds until each request is given up: all of them at once, then nothing for as long."""
    circuit = Circuit()
    for at in (10.0, 20.0):
        for person in range(64):
            circuit.note(person, Retry(reason="no answer", unanswered=True), at)
    assert circuit.trouble(20.0) is not None


def test_once_held_it_begins_anew_and_is_not_held_twice() -> None:
    circuit = after(6, 20, DOWN)
    circuit.hold(Kind.FAILING)
    circuit.note(1, DOWN, 7.0)
    assert circuit.trouble(7.0) is None
    circuit.released()
    assert circuit.trouble(7.0) is None


@pytest.mark.parametrize(
    ("held", "outcome", "is_alive"),
    [
        (Kind.FAILING, Delivered(), True),
        (Kind.FAILING, Rejected(reason="no"), True),
        (Kind.FAILING, DOWN, False),
        (Kind.REFUSING, Rejected(reason="no"), False),
        (Kind.REFUSING, Delivered(), True),
        (Kind.REFUSING, Unauthorized(reason="no"), False),
    ],
)
def test_what_a_probe_says(held: Kind, outcome: Outcome, is_alive: bool) -> None:
    circuit = Circuit()
    circuit.hold(held)
    assert circuit.shows_life(outcome) is is_alive

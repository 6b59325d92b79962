"""The check can fail: each way in which a destination and the ledger can differ is found, and named."""

from __future__ import annotations

import pytest

from tests.chaos import check
from tests.chaos.check import Entry, Kind, Line, Word

ANN = Line("iterable", "ann@x.io", "gold")
TRUE, FALSE = Word(ANN, "gold = true"), Word(ANN, "gold = false")
ENTERED, EXITED = Word(ANN, "Audience Entered", "m1"), Word(ANN, "Audience Exited", "m2")


def ledger(*words: Word, dead: frozenset[int] = frozenset()) -> list[Entry]:
    return [Entry(word, place in dead) for place, word in enumerate(words)]


@pytest.mark.parametrize(
    "done",
    [
        [TRUE, ENTERED, FALSE, EXITED],
        [TRUE, TRUE, ENTERED, FALSE, FALSE, FALSE, EXITED],
        [TRUE, ENTERED, ENTERED, FALSE, EXITED, EXITED],
    ],
)
def test_what_was_said_again_under_its_id_before_anything_newer_is_the_same(done: list[Word]) -> None:
    assert check.histories(done, ledger(TRUE, ENTERED, FALSE, EXITED)) == []


@pytest.mark.parametrize(
    ("done", "kind"),
    [
        ([TRUE, ENTERED, FALSE], Kind.LOST),
        ([], Kind.LOST),
        ([TRUE, ENTERED, Word(ANN, "Audience Entered", "m9"), FALSE, EXITED], Kind.DOUBLED),
        ([TRUE, ENTERED, FALSE, TRUE, EXITED], Kind.REORDERED),
        ([TRUE, FALSE, ENTERED, EXITED], Kind.REORDERED),
        ([FALSE, TRUE, ENTERED, EXITED], Kind.REORDERED),
        ([TRUE, ENTERED, FALSE, EXITED, ENTERED], Kind.REORDERED),
        ([TRUE, ENTERED, FALSE, EXITED, Word(ANN, "gold = null")], Kind.UNKNOWN),
    ],
)
def test_what_differs_is_named(done: list[Word], kind: Kind) -> None:
    found = check.histories(done, ledger(TRUE, ENTERED, FALSE, EXITED))
    assert {difference.kind for difference in found} == {kind}
    assert all("ann@x.io" in str(difference) for difference in found)


def test_one_of_two_equal_values_that_never_arrived_is_lost() -> None:
    (found,) = check.histories([TRUE, FALSE], ledger(TRUE, FALSE, TRUE))
    assert found.kind is Kind.LOST


def test_each_identity_has_an_order_of_its_own() -> None:
    bob = Word(Line("iterable", "bob@x.io", "gold"), "gold = true")
    assert check.histories([bob, TRUE], ledger(TRUE, bob)) == []
    (found,) = check.histories([bob], ledger(TRUE, bob))
    assert (found.kind, found.line) == (Kind.LOST, ANN)


@pytest.mark.parametrize("done", [[TRUE, TRUE], [TRUE, FALSE, TRUE], [TRUE, FALSE, FALSE, TRUE]])
def test_what_was_given_up_may_have_arrived_or_not(done: list[Word]) -> None:
    assert check.histories(done, ledger(TRUE, FALSE, TRUE, dead=frozenset({1}))) == []


def test_what_was_given_up_arrives_in_its_place_only() -> None:
    (found,) = check.histories([TRUE, ENTERED, FALSE], ledger(TRUE, FALSE, ENTERED, dead=frozenset({1})))
    assert found.kind is Kind.REORDERED


def test_two_entries_that_say_the_same_need_two_arrivals() -> None:
    assert check.histories([TRUE, TRUE], ledger(TRUE, TRUE)) == []
    (found,) = check.histories([TRUE], ledger(TRUE, TRUE))
    assert found.kind is Kind.LOST


def test_dead_letters_are_what_was_refused_for_good() -> None:
    assert check.dead_letters([TRUE, ENTERED], {TRUE, ENTERED, FALSE}) == []
    (found,) = check.dead_letters([TRUE, EXITED], {TRUE, ENTERED})
    assert (found.kind, "Audience Exited (m2)" in found.sentence) == (Kind.REFUSED, True)


@pytest.mark.parametrize(
    ("held", "confirmed", "wanted"),
    [("true", "true", "false"), ("true", "false", "true"), ("false", "true", "true"), (None, "true", "true")],
)
def test_what_is_held_told_and_true_is_compared(held: str | None, confirmed: str, wanted: str) -> None:
    assert check.states({ANN: "true"}, {ANN: "true"}, {ANN: "true"}) == []
    (found,) = check.states({ANN: held} if held else {}, {ANN: confirmed}, {ANN: wanted})
    assert (found.kind, found.line) == (Kind.DIFFERENT, ANN)
    assert check.states({}, {}, {ANN: "true"}) != []

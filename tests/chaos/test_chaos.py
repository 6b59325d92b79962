"""The short form of the chaos suite; the long one is `make chaos`."""

from __future__ import annotations

import pytest

from tests.chaos.run import Plan, run

SHORT = Plan(
    seed=1,
    people=8,
    calls=10,
    acts=12,
    pause_of_people=1.0,
    pause_of_trouble=(0.1, 0.5),
    request_timeout=2.0,
    longest_delay=1.5,
)


@pytest.mark.timeout(900)
def test_what_the_destinations_did_is_what_the_ledger_says() -> None:
    outcome = run(SHORT)
    assert outcome.sentences == [], outcome.report()
    assert outcome.counts["delivered"] > 100
    assert outcome.troubles["kill"] >= 1
    assert outcome.troubles["crash"] >= 1

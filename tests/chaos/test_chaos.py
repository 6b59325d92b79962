"""The short form of the chaos suite, in each of its worlds; the long one is `make chaos`."""

from __future__ import annotations

import pytest

from tests.chaos.run import Plan, run
from tests.chaos.worlds import MANY, ONE, World


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("world", "forgotten"), [(MANY, 0), (ONE, 1)], ids=lambda each: getattr(each, "name", None))
def test_what_the_destinations_did_is_what_the_ledger_says(world: World, forgotten: int) -> None:
    outcome = run(
        Plan(
            seed=1,
            world=world,
            people=8,
            calls=10,
            acts=12,
            kills_a_minute=60.0,
            forgotten=forgotten,
            pause_of_people=1.0,
            pause_of_trouble=(0.1, 0.5),
            request_timeout=2.0,
            longest_delay=1.5,
        )
    )
    assert outcome.sentences == [], outcome.report()
    assert outcome.counts["delivered"] > 100
    assert outcome.kills.total() >= 1
    assert outcome.troubles["crash"] >= 1
    assert outcome.troubles["forget"] == forgotten

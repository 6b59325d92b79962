"""Random people, histories and definitions, any sequence of ticks: incremental = full computation = a Python oracle."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from engage_sync.definitions.model import DefinitionSpec
from tests.integration import histories
from tests.integration.histories import Player

# HYPOTHESIS_PROFILE=thorough looks ten times as long.
EXAMPLES = 600 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 60

# So that what one does concerns others from the first step on.
TEAMS = [
    ("group", number, group_id, {}, timedelta(0))
    for number, group_id in ((0, "acme"), (1, "acme"), (1, "beta"), (2, "beta"), (3, "beta"))
]
ticks = st.tuples(st.just("tick"), st.integers(0, 60))
scripts = st.lists(st.one_of(histories.facts, histories.facts, histories.moves, ticks), min_size=3, max_size=14)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(specs=histories.specs(), script=scripts)
def test_any_sequence_of_ticks_equals_a_full_computation_and_the_oracle(
    engine: Engine, specs: list[DefinitionSpec], script: list[Any]
) -> None:
    play(engine, specs, script)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    specs=histories.specs_of_accounts(),
    script=st.lists(
        st.one_of(histories.facts, histories.facts, histories.groups, histories.moves, ticks, ticks),
        min_size=4,
        max_size=14,
    ),
)
def test_so_do_definitions_of_accounts(engine: Engine, specs: list[DefinitionSpec], script: list[Any]) -> None:
    play(engine, specs, [*TEAMS, ("tick", 1), *script])


def play(engine: Engine, specs: Sequence[DefinitionSpec], script: Sequence[Any]) -> None:
    player = Player(engine, specs)
    for step in [*script, ("tick", 1)]:
        if step[0] != "tick":
            player.take(step)
            continue
        player.now += timedelta(hours=step[1])
        player.world.compute(as_of=player.now)
        said = player.expect(player.now)
        player.check_snapshots()
        told = {(identity, key): value for identity, key, _, value in player.world.deliver()}
        assert told.keys() == said.keys()
        assert all(histories.same(value, said[place]) for place, value in told.items())
    for report in player.world.compute(as_of=player.now, full=True).values():
        tally = report.progress.tally
        assert (report.key, tally.entered, tally.exited, tally.changed) == (report.key, 0, 0, 0)
    assert player.world.waiting() == []
    player.check_told()

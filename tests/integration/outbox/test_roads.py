from __future__ import annotations

from sqlalchemy import Connection, text

from engage_sync.database import pipeline
from engage_sync.outbox import claim, roads, settle, workers
from engage_sync.outbox.claim import Wanted
from engage_sync.outbox.enqueue import Priority
from engage_sync.outbox.settle import Postponed, Taken, Unsent
from tests.factories.outbox import TIMEOUT, Outbox


def last(outbox: Outbox, email: str = "ann@x.io") -> bool | None:
    """The road of a person's last message, None where it doesn't count any more."""
    with outbox.engine.begin() as connection:
        profile = outbox.profile(connection, email)
        found = pipeline.ask(connection, roads.asking_last(outbox.destination, [profile])).get(profile)
    return None if found is None else found.in_bulk


def waiting(connection: Connection, outbox: Outbox, most: int) -> dict[int, int]:
    """How many lanes wait, by priority."""
    queries = [roads.asking_waiting(outbox.destination, most, priority) for priority in Priority]
    return dict(zip(map(int, Priority), pipeline.ask_each(connection, queries), strict=True))


def sent(outbox: Outbox, email: str, *, in_bulk: bool, ended: type = Taken) -> None:
    """A message was started by a road, and ended."""
    outbox.waiting_message(email)
    worker = outbox.worker()
    (lane,) = [lane for lane in outbox.claim(worker) if lane.messages and lane.messages[0].identity_value == email]
    message = lane.messages[0]
    with outbox.engine.begin() as connection:
        wanted = [Wanted(message.id, lane.profile_id)]
        assert claim.start(connection, worker, wanted, TIMEOUT, in_bulk=in_bulk)
        more = {"reason": "down", "unanswered": False} if ended is Postponed else {}
        assert settle.settle(connection, worker, [ended(message=message, **more)]).done
        workers.unregister(connection, worker, 0.0)


def let_pass(outbox: Outbox, minutes: float) -> None:
    with outbox.engine.begin() as connection:
        connection.execute(
            text("UPDATE delivered SET delivered_at = delivered_at - CAST(:minutes AS float8) * interval '1 minute'"),
            {"minutes": minutes},
        )


def test_nobody_is_kept_to_a_road_before_the_first_message(outbox: Outbox) -> None:
    outbox.waiting_message()
    assert last(outbox) is None


def test_road_of_what_was_delivered_counts_for_five_minutes(outbox: Outbox) -> None:
    sent(outbox, "ann@x.io", in_bulk=True)
    sent(outbox, "bob@x.io", in_bulk=False)
    let_pass(outbox, 4.9)
    assert (last(outbox), last(outbox, "bob@x.io")) == (True, False)
    let_pass(outbox, 0.2)
    assert (last(outbox), last(outbox, "bob@x.io")) == (None, None)


def test_latest_message_says_which_road(outbox: Outbox) -> None:
    sent(outbox, "ann@x.io", in_bulk=True)
    let_pass(outbox, 1)
    sent(outbox, "ann@x.io", in_bulk=False)
    assert last(outbox) is False


def test_message_that_was_tried_keeps_to_its_road_and_one_that_was_not_sent_to_none(outbox: Outbox) -> None:
    sent(outbox, "ann@x.io", in_bulk=True, ended=Postponed)
    sent(outbox, "bob@x.io", in_bulk=True, ended=Unsent)
    assert (last(outbox), last(outbox, "bob@x.io")) == (True, None)


def test_line_is_counted_by_priority_up_to_a_limit(outbox: Outbox) -> None:
    outbox.many_waiting(30, priority=Priority.TICK)
    for number in range(3):
        outbox.waiting_message(f"now{number}@x.io", priority=Priority.REALTIME)
    outbox.waiting_message("later@x.io")
    with outbox.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE lanes SET due_at = now() + interval '1 hour'"
            " WHERE profile_id = (SELECT profile_id FROM identities WHERE value = 'later@x.io')"
        )
        assert waiting(connection, outbox, 100) == {0: 3, 1: 30, 2: 0}
        assert waiting(connection, outbox, 7) == {0: 3, 1: 7, 2: 0}
    outbox.claim(outbox.worker(), 13)
    with outbox.engine.begin() as connection:
        assert waiting(connection, outbox, 100) == {0: 0, 1: 20, 2: 0}


def test_settling_finds_lanes_by_their_key_however_many_the_worker_has(outbox: Outbox) -> None:
    """By the worker's index each message would be held against all of a bulk's lanes: seconds for a batch."""
    outbox.many_waiting(3_000)
    worker = outbox.worker()
    outbox.claim(worker, 2_500)
    ids = [row[0] for row in outbox.rows("SELECT id FROM messages ORDER BY id LIMIT 1000")]
    for statement, more in ((settle._TAKEN, {"unsent": [], "withheld": []}), (settle._UNSENT, {})):
        given = {"ids": ids, "worker": worker, **more}
        plan = "\n".join(row[0] for row in outbox.rows("EXPLAIN " + statement.text, **given))
        assert "ix_lanes_worker" not in plan


def test_road_of_a_person_with_many_deliveries_is_found_by_time(outbox: Outbox) -> None:
    sent(outbox, "ann@x.io", in_bulk=True)
    given = {"profiles": [1], "destination": outbox.destination, "kept_for": roads.KEPT_FOR}
    with outbox.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan TO off")
        plan = "\n".join(row[0] for row in connection.execute(text("EXPLAIN " + roads._LAST.text), given))
    assert "profile_id_delivered_at_idx" in plan
    assert "Index Cond: ((profile_id = lane.profile_id) AND (delivered_at >" in plan

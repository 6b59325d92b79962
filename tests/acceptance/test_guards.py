"""A guard as its users meet it: exit codes, sentences, approve and discard, on the command line and in metrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
from sqlalchemy import create_engine, text

from engage_sync.database import pipeline
from engage_sync.ingest import volumes
from tests.acceptance.test_commands import RECENT, Shop, T, identify, order, shop

__all__ = ["shop"]

LATER = (T + timedelta(days=31)).isoformat()
PEOPLE = [f"u{number}" for number in range(6)]


def guarded(shop: Shop, guard: str) -> None:
    """The workspace's guard, and six members of whom all leave after 30 days."""
    engage = (shop.folder / "engage.yml").read_text()
    shop.write("engage.yml", f"{engage}guard: {guard}\n")
    shop.audience("recent", RECENT)
    shop.run("apply", "--yes")
    calls = [call for user in PEOPLE for call in (*identify(user, f"{user}@x.io"), order(user, T))]
    shop.run("import", shop.calls(*calls))


def test_held_approved_and_sent(shop: Shop) -> None:
    guarded(shop, "{from_members: 5}")
    first = shop.run("sync", "--as-of", T.isoformat())
    assert (
        "recent: the first push tells 6 people in 6 messages, at most 0.0 s at the destination's rate." in first.stderr
    )
    shop.audience("never", "event('Order Completed').count() = 0")
    shop.run("apply", "--yes")

    held, other = sorted(shop.json("sync", "--as-of", LATER, code=3), key=lambda row: row["status"], reverse=True)
    assert (held["key"], held["status"], held["members"], held["left"], held["messages"], held["sent"]) == (
        "recent", "held", 6, 6, 6, 0
    )  # fmt: skip
    assert (other["key"], other["status"], other["held"]) == ("never", "done", None)
    assert shop.fields("u1@x.io") == {"recent": True}
    said = shop.run("compute", "recent", "--as-of", LATER, code=3).stderr
    assert "recent is held, nothing of it was written: 6 would leave, of 6 members: more than the 50%" in said
    assert "engage-sync approve recent" in said
    run = shop.json("runs", "recent")[0]
    assert (run["status"], run["left"], run["run_id"]) == ("held", 6, held["run_id"])
    listed = {each["key"]: each["held"] for each in shop.json("audiences")}
    assert (listed["never"], listed["recent"]["left"], listed["recent"]["status"]) == (None, 6, "held")
    assert "recent is held: 6 would leave" in shop.run("audiences").stderr
    findings = {each["check"]: each for each in shop.json("doctor", code=1)}
    assert "engage-sync approve recent" in findings["definition recent"]["detail"]

    assert shop.json("approve", str(held["run_id"]))["left"] == 6
    assert shop.json("deliver", "--until-empty")["sent"] == 6
    assert shop.fields("u1@x.io") == {"recent": False}
    assert shop.json("sync", "--as-of", LATER)[0]["status"] == "done"
    shop.run("doctor")
    assert "isn't held" in shop.run("approve", "recent", code=2).stderr
    assert "There is no definition 'recnet'. Did you mean 'recent'?" in shop.run("approve", "recnet", code=1).stderr


def test_a_plan_says_what_would_be_held(shop: Shop) -> None:
    guarded(shop, "{from_members: 5, max_change: 20%}")
    shop.run("sync", "--as-of", T.isoformat())
    shop.audience("recent", "event('Order Completed').count() >= 2")
    (effect,) = shop.json("plan")["members"]
    assert (effect["members"], effect["leaving"], effect["allowed"]) == (6, 6, 1)
    assert effect["held"] == "6 would leave, of 6 members: more than the 20% that the guard allows within an hour."
    said = " ".join(shop.run("plan").stderr.split())
    assert "recent would be held, and nothing of it written: 6 would leave, of 6 members" in said
    applied = " ".join(shop.run("apply", "--yes").stderr.split())
    for each in (said, applied):
        assert "A guard in engage.yml, once changed, counts for running daemons when they are restarted" in each


def test_discarded_and_counted_anew(shop: Shop) -> None:
    guarded(shop, "{from_members: 5, max_change: 20%}")
    shop.run("sync", "--as-of", T.isoformat())
    shop.run("sync", "--as-of", LATER, code=3)
    assert shop.json("discard", "recent")["status"] == "discarded"
    assert shop.json("audiences")[0]["held"]["status"] == "discarded"
    shop.run("discard", "recent", code=2)
    later = T + timedelta(days=30)
    shop.run("import", shop.calls(*(order(user, later) for user in PEOPLE[1:])))
    (row,) = shop.json("sync", "--as-of", LATER)
    assert (row["status"], row["left"], row["sent"]) == ("done", 1, 1)


def test_what_is_off_holds_nothing_and_neither_does_the_default_of_few_members(shop: Shop) -> None:
    guarded(shop, "off")
    shop.run("sync", "--as-of", T.isoformat())
    assert shop.json("sync", "--as-of", LATER)[0]["left"] == 6
    shop.write("engage.yml", (shop.folder / "engage.yml").read_text().replace("guard: off\n", ""))
    shop.run("import", shop.calls(*(order(user, T + timedelta(days=31)) for user in PEOPLE)))
    assert shop.json("sync", "--as-of", LATER)[0]["entered"] == 6


def test_silence_is_named_by_doctor_and_in_metrics(shop: Shop) -> None:
    guarded(shop, "{silence: 1 hour}")
    engine = create_engine(
        shop.environment["ENGAGE_SYNC_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
    )
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO volumes SELECT id, date_trunc('minute', clock_timestamp()) - n * interval '30 minutes', 80"
                " FROM sources CROSS JOIN generate_series(3, 48 * 9) AS n"
            )
        )
    (finding,) = [each for each in shop.json("doctor", code=1) if each["check"] == "source web"]
    assert finding["detail"].startswith("the source web sent no call in 1 hour, where 160 are usual at this time")
    # Everybody left long ago, by the clock of now.
    shop.run("sync", "--as-of", T.isoformat())
    said = shop.run("sync", code=3).stderr
    assert (
        "recent is held, nothing of it was written: 6 would leave, of 6 members, while the source web sent no" in said
    )
    shop.environment["ENGAGE_SYNC_API_TOKEN"] = "token"
    daemon = shop.up()
    try:
        answer = httpx.get(f"http://127.0.0.1:{shop.port}/metrics", headers={"Authorization": "Bearer token"})
    finally:
        daemon.terminate()
        daemon.wait(30)
    assert 'engage_sync_definition_held{key="recent",kind="audience"} 1.0' in answer.text
    assert shop.fields("u1@x.io") == {"recent": True}
    engine.dispose()


def test_an_event_that_stopped_is_named_by_doctor_runs_and_in_metrics(shop: Shop) -> None:
    guarded(shop, "{silence: 1 hour}")
    engine = create_engine(
        shop.environment["ENGAGE_SYNC_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
    )
    now = datetime.now(UTC)
    with engine.begin() as connection:
        source = connection.execute(text("SELECT id FROM sources WHERE slug = 'web'")).scalar_one()
        came = [
            (source, name, now - number * timedelta(minutes=15))
            for name, newest in (("Order Completed", 8), ("Page Viewed", 0))
            for number in range(newest, 96 * 9)
            for _ in range(40)
        ]
        pipeline.ask(connection, volumes.counting_events(came))
    shop.run("sync", "--as-of", T.isoformat())
    (finding,) = [each for each in shop.json("doctor", code=1) if each["check"] == "event Order Completed of web"]
    assert finding["detail"].startswith(
        "the source web sent no call of 'Order Completed' in 1 hour, where 160 are usual at this time: is it still"
    )
    shop.run("sync", code=3)
    said = "6 would leave, of 6 members, while the source web sent no call of 'Order Completed' in 1 hour"
    assert said in shop.run("runs", "recent").stdout + shop.run("runs", "recent").stderr
    shop.environment["ENGAGE_SYNC_API_TOKEN"] = "token"
    daemon = shop.up()
    try:
        answer = httpx.get(f"http://127.0.0.1:{shop.port}/metrics", headers={"Authorization": "Bearer token"})
    finally:
        daemon.terminate()
        daemon.wait(30)
    assert 'engage_sync_definitions_held_by_silence{event="Order Completed",source="web"} 1.0' in answer.text
    engine.dispose()

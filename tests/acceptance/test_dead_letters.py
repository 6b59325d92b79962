"""Dead letters, retries and held destinations as their operator meets them on the command line."""

from __future__ import annotations

from datetime import timedelta

from engage_sync.sandbox.options import USERS_UPDATE
from tests.acceptance.test_commands import RECENT, Shop, T, eventually, identify, order, shop

__all__ = ["shop"]

PEOPLE = 60


def buyers(shop: Shop, people: int) -> None:
    shop.audience("bought", "event('Order Completed').count() >= 1")
    shop.run("apply", "--yes")
    calls = [
        call
        for number in range(people)
        for call in (*identify(f"u{number}", f"p{number}@x.io"), order(f"u{number}", T))
    ]
    shop.run("import", shop.calls(*calls))


def test_dead_letters_are_found_shown_replayed_and_discarded(shop: Shop) -> None:
    buyers(shop, 3)
    body = {"code": "InvalidUserData", "msg": "no such thing"}
    for name in ("p0", "p1"):
        shop.sandbox.add_faults(
            {"path": USERS_UPDATE, "match": {"email": f"{name}@x.io"}, "times": 1, "kind": "status", "status": 400,
             "body": body}
        )  # fmt: skip
    shop.run("sync", code=1)
    assert len(shop.json("dead-letters", "list", "--reason", "INVALIDUSERDATA", "--destination", "iterable")) == 2
    (reason,) = shop.json("dead-letters", "reasons")
    assert (reason["letters"], reason["key"], reason["call_type"]) == (2, "bought", "identify")
    (letter,) = shop.json("dead-letters", "list", "--person", "email:p0@x.io")
    shown = shop.json("dead-letters", "show", str(letter["id"]))
    assert shown == letter
    assert shown["request"]["body"]["dataFields"]["bought"] is True
    assert "no such thing" in shown["answer"]
    printed = shop.run("dead-letters", "show", str(letter["id"])).stdout
    assert f"POST {USERS_UPDATE}" in printed
    assert "sandbox-key" not in printed

    assert "--all" in shop.run("dead-letters", "replay", code=2).stderr
    assert (
        "no destination 'itreable'" in shop.run("dead-letters", "discard", "--destination", "itreable", code=1).stderr
    )
    assert shop.json("dead-letters", "replay", "--person", "email:p0@x.io") == {"replayed": 1, "obsolete": 0}
    assert shop.json("deliver", "--until-empty")["sent"] == 1
    assert shop.fields("p0@x.io") == {"bought": True}
    assert shop.json("dead-letters", "discard", "--key", "bought") == {"discarded": 1}
    assert {each["status"] for each in shop.json("dead-letters", "list", "--status", "all")} == {
        "replayed",
        "discarded",
    }


def test_a_replay_says_what_is_true_now(shop: Shop) -> None:
    shop.audience("bought", RECENT, "{identify: true, track: true}")
    shop.run("apply", "--yes")
    shop.run("import", shop.calls(*identify("u1", "a@x.io"), order("u1", T), *identify("u2", "b@x.io"), order("u2", T)))
    shop.sandbox.add_faults({"path": "*", "times": 2, "kind": "status", "status": 400, "match": {"email": "a@x.io"}})
    shop.run("sync", "--as-of", T.isoformat(), code=1)
    shop.run("sync", "--as-of", (T + timedelta(days=31)).isoformat())
    # She left before she was ever told that she was in.
    done = shop.json("dead-letters", "replay", "--all")
    assert (done["replayed"], done["obsolete"]) == (0, 2)
    assert shop.fields("a@x.io") == {}
    assert shop.fields("b@x.io") == {"bought": False}


def test_when_everybody_is_refused_the_destination_is_held_and_says_so(shop: Shop) -> None:
    buyers(shop, PEOPLE)
    shop.sandbox.add_faults({"path": "*", "kind": "status", "status": 400})
    done = shop.run("sync", code=1)
    assert "iterable is held since" in done.stderr
    assert f"{PEOPLE} messages wait" in done.stderr
    assert shop.json("dead-letters", "list") == []
    (destination,) = shop.json("destinations")
    assert (destination["state"], destination["waiting"], destination["dead_letters"]) == ("held", PEOPLE, 0)
    assert "people in a row were refused" in destination["reason"]
    findings = shop.json("doctor", code=1)
    assert any(not each["ok"] and "held since" in each["detail"] for each in findings)
    assert {row["state"] for row in shop.json("outbox", "--person", "email:p1@x.io")} == {"held"}
    shop.sandbox.clear_faults()
    assert shop.json("deliver", "--now")["sent"] == PEOPLE
    (destination,) = shop.json("destinations")
    assert (destination["state"], destination["reason"], destination["waiting"]) == ("sending", None, 0)


def test_retries_are_seen_and_hurried(shop: Shop) -> None:
    """A destination that asks for an hour is given it, unless somebody knows better."""
    buyers(shop, 2)
    shop.sandbox.add_faults(
        {"path": USERS_UPDATE, "match": {"email": "p0@x.io"}, "times": 1, "kind": "status", "status": 503,
         "headers": {"Retry-After": "3600"}}
    )  # fmt: skip
    shop.run("compute")
    daemon = shop.up()
    try:
        assert eventually(lambda: shop.fields("p1@x.io") == {"bought": True})
        assert eventually(lambda: bool(shop.json("outbox", "--retrying")))
        (waiting,) = shop.json("outbox", "--retrying")
        assert (waiting["identity_value"], waiting["state"], waiting["attempts"]) == ("p0@x.io", "retrying", 1)
        assert waiting["last_error"].startswith("503")
        assert waiting["next_at"] > waiting["first_tried_at"]
        assert shop.json("deliver", "--now") == {"hurried": 1}
        assert eventually(lambda: shop.fields("p0@x.io") == {"bought": True})
    finally:
        daemon.terminate()
        assert daemon.wait(20) == 0

"""What Iterable holds, read back over HTTP: drift repaired, what was there before adopted, everybody told again."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest

from tests.acceptance.test_commands import RECENT, Shop, T, identify, order, shop

__all__ = ["shop"]

KEY = {"Api-Key": "sandbox-key"}
BOUGHT = "event('Order Completed').count() >= 1"
BOTH = "{identify: true, track: true}"


def write(shop: Shop, email: str, fields: dict[str, Any]) -> None:
    """Somebody else changes a user in Iterable."""
    body = {"email": email, "dataFields": fields}
    assert httpx.post(f"{shop.sandbox.url}/api/users/update", headers=KEY, json=body).status_code == 200


def delete(shop: Shop, email: str) -> None:
    assert httpx.delete(f"{shop.sandbox.url}/api/users/{quote(email, safe='')}", headers=KEY).status_code == 200


def sent(shop: Shop, after: int) -> list[tuple[str, dict[str, Any]]]:
    """The updates of users since, in no order: (email, fields)."""
    bodies = [
        request["body"]
        for request in shop.sandbox.requests(after=after)
        if request["path"] == "/api/users/update" and request["acted"]
    ]
    found = [
        (body["email"], {name: value for name, value in body["dataFields"].items() if name != "email"})
        for body in bodies
    ]
    return sorted(found, key=str)


def mark(shop: Shop) -> int:
    return max((request["sequence"] for request in shop.sandbox.requests()), default=0)


def people(shop: Shop, *names: str) -> None:
    """Each with an email and an order at T; applied before."""
    calls = [call for name in names for call in (*identify(name, f"{name}@x.io"), order(name, T))]
    shop.run("import", shop.calls(*calls))


def test_drift_is_found_shown_and_repaired_once(shop: Shop) -> None:
    shop.audience("bought", BOUGHT)
    shop.write("traits/spent.yml", "name: spent\nquery: event('Order Completed').sum(property('total'))\n"
               "destinations: {iterable: {identify: true}}\n")  # fmt: skip
    shop.run("apply", "--yes")
    people(shop, "u1", "u2", "u3", "u4")
    shop.json("sync", "--as-of", T.isoformat())

    found = {each["key"]: each for each in shop.json("reconcile", "iterable")}
    assert [(each["checked"], each["equal"]) for each in found.values()] == [(4, 4), (4, 4)]

    write(shop, "u1@x.io", {"bought": False})
    write(shop, "u2@x.io", {"bought": None, "spent": 7.5})
    delete(shop, "u3@x.io")
    found = {each["key"]: each for each in shop.json("reconcile", "iterable", code=1)}
    bought, spent = found["bought"], found["spent"]
    assert (bought["checked"], bought["equal"], bought["different"], bought["missing"]) == (4, 1, 2, 1)
    assert (spent["checked"], spent["equal"], spent["different"], spent["missing"]) == (4, 2, 1, 1)
    assert bought["examples"] == [
        {"identity": "email:u1@x.io", "field": "bought", "told": True, "holds": False},
        {"identity": "email:u2@x.io", "field": "bought", "told": True, "holds": None},
    ]
    assert spent["examples"] == [{"identity": "email:u2@x.io", "field": "spent", "told": 20.0, "holds": 7.5}]

    shown = shop.run("reconcile", "iterable", code=1)
    assert "email:u1@x.io" in shown.stdout
    assert "--repair" in shown.stderr

    before = mark(shop)
    found = {each["key"]: each for each in shop.json("reconcile", "iterable", "--all", "--repair")}
    assert (found["bought"]["repaired"], found["bought"]["messages"]) == (3, 3)
    assert (found["spent"]["repaired"], found["spent"]["messages"]) == (2, 2)
    # What is under way is left alone; of whoever wasn't there, nothing is known to compare.
    again = shop.json("reconcile", "iterable", "--all", "--repair")
    assert {each["key"]: (each["repaired"], each["open"]) for each in again} == {"bought": (0, 2), "spent": (0, 1)}
    assert shop.json("deliver", "--until-empty")["sent"] == 5
    assert sent(shop, before) == [
        ("u1@x.io", {"bought": True}),
        ("u2@x.io", {"bought": True}),
        ("u2@x.io", {"spent": 20.0}),
        ("u3@x.io", {"bought": True}),
        ("u3@x.io", {"spent": 20.0}),
    ]
    assert [each["equal"] for each in shop.json("reconcile", "iterable", "--all")] == [4, 4]
    causes = [(run["cause"], run["messages"]) for run in shop.json("runs")]
    assert sorted(causes[:2]) == [("resync", 2), ("resync", 3)]
    assert shop.json("deliver", "--until-empty")["sent"] == 0


def test_somebody_who_left_and_is_not_there_is_not_made_to_hear_it(shop: Shop) -> None:
    shop.audience("recent", RECENT)
    shop.run("apply", "--yes")
    people(shop, "u1")
    shop.run("sync", "--as-of", T.isoformat())
    shop.run("sync", "--as-of", (T + timedelta(days=31)).isoformat())
    delete(shop, "u1@x.io")
    (found,) = shop.json("reconcile", "iterable", "--repair")
    assert (found["missing"], found["repaired"], found["messages"]) == (1, 1, 0)
    assert shop.sandbox.user("u1@x.io") is None


def asked(shop: Shop, after: int) -> list[str]:
    """Of whom Iterable was asked since."""
    gets = [request["path"] for request in shop.sandbox.requests(after=after) if request["method"] == "GET"]
    return sorted(unquote(path.rpartition("/")[2]) for path in gets)


def test_nobody_asks_about_suppressed_people(shop: Shop) -> None:
    """Also by an email that they had once, and where something differs; nor is anything of them adopted."""
    shop.audience("bought", BOUGHT)
    shop.run("apply", "--yes")
    shop.run("import", shop.calls(
        *identify("u1", "u1@x.io"), order("u1", T), *identify("u2", "u2@x.io", "two@x.io"), order("u2", T),
    ))  # fmt: skip
    shop.json("sync", "--as-of", T.isoformat())
    for email in ("u1@x.io", "u2@x.io", "two@x.io"):
        write(shop, email, {"bought": False})
    shop.run("suppress", "two@x.io", "--yes")

    for everybody in ([], ["--all"]):
        before = mark(shop)
        (found,) = shop.json("reconcile", "iterable", *everybody, code=1)
        assert asked(shop, before) == ["u1@x.io"]
        assert (found["checked"], found["different"], found["suppressed"]) == (1, 1, 2)
    assert "suppressed: left out" in shop.run("reconcile", "iterable", code=1).stderr

    before = mark(shop)
    (found,) = shop.json("reconcile", "iterable", "--all", "--repair")
    assert (found["repaired"], found["suppressed"], found["messages"]) == (1, 2, 1)
    shop.run("deliver", "--until-empty")
    (found,) = shop.json("reconcile", "iterable", "--adopt")
    assert (found["equal"], found["adopted"], found["suppressed"]) == (1, 0, 2)
    assert asked(shop, before) == ["u1@x.io", "u1@x.io"]
    assert [email for email, _ in sent(shop, before)] == ["u1@x.io"]
    # Alone, and in nobody's way: nothing is drift.
    shop.run("suppress", "u1@x.io", "--yes")
    (found,) = shop.json("reconcile", "iterable")
    assert (found["checked"], found["suppressed"]) == (0, 3)
    assert "Nobody was told" not in shop.run("reconcile", "iterable").stderr


def test_first_run_after_adopting_pushes_only_differences(shop: Shop) -> None:
    shop.audience("bought", BOUGHT, BOTH)
    shop.write("traits/first_at.yml", "name: first_at\nquery: event('Order Completed').first(property('at'))\n"
               "destinations: {iterable: {identify: true}}\n")  # fmt: skip
    shop.run("apply", "--yes")
    calls = [call for name in ("u1", "u2", "u3") for call in identify(name, f"{name}@x.io")]
    calls += identify("u4", "u4@x.io")
    bought = {"total": 20, "at": "2026-03-01T10:00:00.789+01:00"}
    calls += [order(name, T, properties=bought) for name in ("u1", "u2", "u3")]
    shop.run("import", shop.calls(*calls))
    # As Segment left it: u1 as it will be, u2 without the audience, u3 not there at all, u4 a member who is none.
    write(shop, "u1@x.io", {"bought": True, "first_at": "2026-03-01 09:00:00 +00:00"})
    write(shop, "u2@x.io", {"bought": False, "first_at": "2026-03-01 09:00:00 +00:00"})
    write(shop, "u4@x.io", {"bought": True})
    before = mark(shop)

    found = {each["key"]: each for each in shop.json("reconcile", "iterable", "--adopt")}
    assert {key: (each["adopted"], each["messages"]) for key, each in found.items()} == {
        "bought": (2, 0), "first_at": (2, 0)
    }  # fmt: skip
    rows = {row["key"]: row for row in shop.json("sync", "--as-of", T.isoformat())}
    assert (rows["bought"]["members"], rows["first_at"]["members"]) == (3, 3)
    assert sent(shop, before) == [
        ("u2@x.io", {"bought": True}),
        ("u3@x.io", {"bought": True}),
        ("u3@x.io", {"first_at": "2026-03-01 09:00:00 +00:00"}),
        ("u4@x.io", {"bought": False}),
    ]
    names = sorted((event["email"], event["eventName"]) for event in shop.sandbox.events())
    assert names == [
        ("u2@x.io", "Audience Entered"), ("u3@x.io", "Audience Entered"), ("u4@x.io", "Audience Exited"),
    ]  # fmt: skip
    assert [row["sent"] for row in shop.json("sync", "--as-of", (T + timedelta(hours=1)).isoformat())] == [0, 0]
    assert {(each["different"], each["missing"]) for each in shop.json("reconcile", "iterable", "--all")} == {(0, 0)}
    # What was adopted and never said is told again like all else.
    assert shop.json("resync", "bought")["messages"] == 4


def test_adopting_what_is_held_now_tells_only_what_is_true_against_it(shop: Shop) -> None:
    shop.audience("bought", BOUGHT)
    shop.run("apply", "--yes")
    people(shop, "u1", "u2")
    shop.run("sync")
    write(shop, "u1@x.io", {"bought": False})
    before = mark(shop)
    (found,) = shop.json("reconcile", "iterable", "--adopt")
    assert (found["different"], found["adopted"], found["messages"]) == (1, 1, 1)
    assert shop.json("deliver", "--until-empty")["sent"] == 1
    assert sent(shop, before) == [("u1@x.io", {"bought": True})]


def test_resync_tells_everybody_again_what_is_true_and_no_event_twice(shop: Shop) -> None:
    shop.audience("recent", RECENT, BOTH)
    shop.run("apply", "--yes")
    shop.run("resync", "recent", code=1)
    shop.run("import", shop.calls(
        *identify("u1", "a@x.io", "b@x.io"), order("u1", T), *identify("u3", "d@x.io"),
        *identify("u2", "c@x.io"), order("u2", T - timedelta(days=20)),
    ))  # fmt: skip
    shop.run("sync", "--as-of", T.isoformat())
    shop.run("sync", "--as-of", (T + timedelta(days=15)).isoformat())
    events, before = len(shop.sandbox.events()), mark(shop)

    done = shop.json("resync", "recent")
    assert (done["people"], done["messages"], done["seconds"]) == (2, 3, 0.0)
    assert done["calls"] == [{"destination": "iterable", "call_type": "identify", "messages": 3, "seconds": 0.0}]
    assert shop.json("resync", "recent")["messages"] == 0
    assert shop.json("deliver", "--until-empty")["sent"] == 3
    assert sent(shop, before) == [
        ("a@x.io", {"recent": True}), ("b@x.io", {"recent": True}), ("c@x.io", {"recent": False}),
    ]  # fmt: skip
    assert len(shop.sandbox.events()) == events
    assert shop.json("runs")[1]["cause"] == "resync"

    assert shop.json("resync", "recent", "--events")["messages"] == 6
    shop.run("deliver", "--until-empty")
    assert len(shop.sandbox.events()) == events + 3
    shop.run("resync", "recnt", code=1)


def test_only_one_person_hears_and_the_others_wait(shop: Shop) -> None:
    shop.audience("bought", BOUGHT)
    shop.run("apply", "--yes")
    people(shop, "u1", "u2", "u3")
    shop.run("sync", "bought", "--only", "email:nobody@x.io", code=1)
    assert shop.json("runs") == []
    (row,) = shop.json("sync", "bought", "--only", "email:u2@x.io")
    assert (row["members"], row["messages"], row["sent"], row["waiting"]) == (3, 3, 1, 2)
    assert [user["email"] for user in shop.sandbox.users()] == ["u2@x.io"]
    said = shop.run("sync", "bought", "--only", "email:u2@x.io").stderr
    assert "2 messages to others wait" in said
    assert [user["email"] for user in shop.sandbox.users()] == ["u2@x.io"]
    assert shop.json("deliver", "--until-empty")["sent"] == 2
    assert len(shop.sandbox.users()) == 3


def test_only_is_refused_while_somebody_else_delivers(shop: Shop) -> None:
    shop.audience("bought", BOUGHT)
    shop.run("apply", "--yes")
    people(shop, "u1")
    daemon = shop.up()
    try:
        while shop.sandbox.user("u1@x.io") is None:
            time.sleep(0.1)
        refused = shop.run("sync", "--only", "email:u1@x.io", code=2)
        assert "stop `up` or `deliver` first" in refused.stderr
    finally:
        daemon.terminate()
        daemon.wait(25)


def test_allow_lets_only_its_domains_through_and_forgets_nobody(shop: Shop) -> None:
    without = (shop.folder / "engage.yml").read_text()
    shop.write("engage.yml", without.rstrip("\n") + "\n    allow: [Example.com]\n")
    shop.audience("bought", BOUGHT, BOTH)
    shop.run("apply", "--yes")
    shop.run("import", shop.calls(
        *identify("u1", "me@example.com", "me@x.io"), order("u1", T), order("u3", T),
        *identify("u2", "you@example.com.evil.io"), order("u2", T),
    ))  # fmt: skip
    (row,) = shop.json("sync", "--as-of", T.isoformat())
    assert (row["messages"], row["sent"], row["withheld"], row["failed"]) == (8, 2, 6, 0)
    assert [user["email"] for user in shop.sandbox.users()] == ["me@example.com"]
    assert len(shop.sandbox.events()) == 1

    doctor = {finding["check"]: finding["detail"] for finding in shop.json("doctor")}
    assert "allow: only emails of example.com" in doctor["destination iterable"]
    assert doctor["told bought"].startswith("6 identities at iterable wait to be told again")
    call = {"type": "identify", "userId": "u9", "traits": {"email": "nine@x.io"}}
    assert "allow" in shop.run("render", "iterable", shop.calls(call)).stdout

    shop.write("engage.yml", without)
    # All that was withheld, and once more what wasn't.
    assert shop.json("resync", "bought")["messages"] == 7
    assert shop.json("deliver", "--until-empty")["sent"] == 7
    assert sorted(str(user["email"]) for user in shop.sandbox.users() if "placeholder" not in str(user["email"])) == [
        "me@example.com", "me@x.io", "you@example.com.evil.io",
    ]  # fmt: skip
    assert {user["dataFields"]["bought"] for user in shop.sandbox.users()} == {True}


def test_doctor_says_what_several_emails_a_person_need(shop: Shop) -> None:
    def told() -> str:
        return str({finding["check"]: finding["detail"] for finding in shop.json("doctor")}["destination iterable"])

    text = (shop.folder / "engage.yml").read_text()
    assert "several emails" not in told()
    shop.write("engage.yml", text.replace("settings: {", "settings: {project_type: hybrid, "))
    assert "people with several emails need a project of type email" in told()
    shop.write("engage.yml", (shop.folder / "engage.yml").read_text() + "limits: {email: 1}\n")
    assert "several emails" not in told()


def test_definition_that_sweeps_tells_everybody_that_it_is_gone(shop: Shop) -> None:
    file = "audiences/bought.yml"
    shop.write(file, f"name: bought\nquery: {BOUGHT}\non_delete: sweep\ndestinations: {{iterable: {BOTH}}}\n")
    shop.write("traits/spent.yml", "name: spent\nquery: event('Order Completed').max(property('total'))\n"
               "on_delete: sweep\ndestinations: {iterable: {identify: true}}\n")  # fmt: skip
    assert shop.json("check")["warnings"] == []
    shop.run("apply", "--yes")
    people(shop, "u1", "u2")
    shop.run("sync", "--as-of", T.isoformat())
    assert shop.fields("u1@x.io") == {"bought": True, "spent": 20.0}

    (shop.folder / file).unlink()
    (shop.folder / "traits/spent.yml").unlink()
    foreseen = shop.json("plan", "--delete", "bought", "--delete", "spent")
    assert {(calls["call_type"], calls["messages"]) for calls in foreseen["calls"]} == {("identify", 4), ("track", 2)}
    done = shop.json("apply", "--yes", "--delete", "bought", "--delete", "spent")
    assert {action["key"]: action["messages"] for action in done} == {"bought": 4, "spent": 2}
    assert shop.json("audiences") == []
    assert shop.json("apply", "--yes") == []
    assert shop.json("deliver", "--until-empty")["sent"] == 6
    assert [shop.fields(f"{name}@x.io") for name in ("u1", "u2")] == [{"bought": False}] * 2
    assert (
        sorted(event["eventName"] for event in shop.sandbox.events())
        == ["Audience Entered"] * 2 + ["Audience Exited"] * 2
    )

    # The same file again: everybody is told anew.
    shop.write(file, f"name: bought\nquery: {BOUGHT}\ndestinations: {{iterable: {{identify: true}}}}\n")
    shop.run("apply", "--yes")
    (row,) = shop.json("sync")
    assert (row["members"], row["sent"]) == (2, 2)
    assert shop.fields("u1@x.io") == {"bought": True}


def test_wrong_key_and_wrong_words_are_told(shop: Shop) -> None:
    shop.audience("bought", BOUGHT)
    shop.run("apply", "--yes")
    people(shop, "u1")
    shop.run("sync")
    assert "not both" in shop.run("reconcile", "iterable", "--all", "--sample", "5", code=2).stderr
    assert "not both" in shop.run("reconcile", "iterable", "--adopt", "--repair", code=2).stderr
    assert "Known are: iterable" in shop.run("reconcile", "iterble", code=1).stderr
    shop.environment["ITERABLE_API_KEY"] = "some-other-key"
    refused = shop.run("reconcile", "iterable", code=1).stderr
    assert "doesn't take the key" in refused
    assert "some-other-key" not in refused


@pytest.mark.parametrize("email", ["a+b@x.io", "a/b@x.io", "a%40b@x.io"])
def test_any_email_finds_its_user(shop: Shop, email: str) -> None:
    shop.audience("bought", BOUGHT)
    shop.run("apply", "--yes")
    shop.run("import", shop.calls(*identify("u1", email), order("u1", T)))
    shop.run("sync")
    (found,) = shop.json("reconcile", "iterable")
    assert (found["checked"], found["equal"]) == (1, 1)


def test_reading_keeps_to_the_rate_that_iterable_states(shop: Shop) -> None:
    shop.audience("bought", BOUGHT)
    shop.run("apply", "--yes")
    people(shop, *(f"p{number}" for number in range(250)))
    shop.run("sync")
    (found,) = shop.json("reconcile", "iterable", "--sample", "220")
    assert (found["checked"], found["equal"], found["unread"]) == (220, 220, 0)
    reads = [request for request in shop.sandbox.requests() if request["method"] == "GET"]
    assert 220 <= len(reads) <= 225

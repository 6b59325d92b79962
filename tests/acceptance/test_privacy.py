"""suppress and forget as their users run them: commands, files, exit codes, several processes, the sandbox."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

import httpx
import pytest

from tests.acceptance.test_commands import RECENT, Shop, T, identify, order, shop

__all__ = ["shop"]


def people(shop: Shop, *names: str) -> None:
    """Each with an email and an order at T; told."""
    shop.audience("bought", RECENT, "{identify: true, track: true}")
    shop.run("apply", "--yes")
    calls = [call for name in names for call in (*identify(name, f"{name}@x.io"), order(name, T))]
    shop.run("import", shop.calls(*calls))
    shop.json("sync", "--as-of", T.isoformat())


def forgotten(shop: Shop) -> list[Any]:
    return [each["body"] for each in shop.sandbox.requests() if each["path"] == "/api/users/forget"]


def test_forgetting_a_person_from_the_command_line(shop: Shop) -> None:
    people(shop, "u1", "u2")
    done = shop.json("forget", "u1@x.io", "--yes", "--by", "the operator")
    assert (done["known"], done["unknown"], done["already"], done["unfinished"]) == (1, 0, 0, 0)
    assert done["deleted"]["events"] == 1
    assert done["destinations"] == [{"destination": "iterable", "status": "waiting", "requests": 2, "reason": None}]
    shop.run("deliver", "--until-empty")
    assert forgotten(shop) == [{"email": "u1@x.io"}, {"userId": "u1"}]
    assert shop.sandbox.user("u1@x.io") is None

    (record,) = shop.json("privacy")
    assert (record["kind"], record["asked_by"], record["was_known"], record["status"]) == (
        "forget", "the operator", True, "done",
    )  # fmt: skip
    assert record["destinations"] == [{"destination": "iterable", "status": "taken", "requests": 2, "reason": None}]
    assert "u1" not in json.dumps({name: value for name, value in record.items() if name != "id"})
    assert shop.json("privacy", "--of", "user_id:u1") == [record]
    assert shop.json("privacy", "--of", "user_id:u2") == []

    assert shop.json("forget", "u1@x.io", "--yes")["already"] == 1
    # The old files bring nothing back.
    again = shop.json("import", shop.calls(*identify("u1", "u1@x.io"), order("u1", T)))
    assert (again["suppressed"], again["stored"]) == (2, 0)
    assert shop.json("members", "bought")["total"] == 1
    shop.run("profile", "email:u1@x.io", code=1)


def test_suppressing_and_taking_it_back(shop: Shop) -> None:
    people(shop, "u1")
    assert shop.json("suppress", "user_id:u1", "--yes")["known"] == 1
    shop.run("import", shop.calls(order("u1", T.replace(hour=13))))
    assert shop.json("profile", "user_id:u1")["is_suppressed"] is True
    assert "Suppressed: nothing" in shop.run("profile", "user_id:u1").stdout
    for later in (14, 15):
        (run,) = shop.json("sync", "--as-of", T.replace(hour=later).isoformat())
        assert run["sent"] == 0
    assert shop.json("suppress", "u1@x.io", "--undo") == {
        "requests": [1], "forgotten": 0, "unknown": 0, "profiles": 1,
    }  # fmt: skip
    shown = shop.run("suppress", "u1@x.io", "--undo")
    assert "Not suppressed: 1" in shown.stderr
    assert shop.json("privacy")[0]["status"] == "undone"


def test_many_at_once_from_a_file(shop: Shop) -> None:
    people(shop, "u1", "u2", "u3")
    file = shop.folder / "requests.csv"
    file.write_text("Email,asked\nu1@x.io,2026-03-01\nU2@X.io,2026-03-02\n\nnobody@x.io,\n")
    done = shop.json("forget", "--file", str(file), "--yes")
    assert (done["known"], done["unknown"]) == (2, 1)
    file.write_text("user_id\nu3\n")
    assert shop.json("forget", "--file", str(file), "--yes")["known"] == 1
    shop.run("deliver", "--until-empty")
    assert len(forgotten(shop)) == 7
    assert shop.json("members", "bought")["total"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["forget"], "Name people, or give a file"),
        (["forget", "u1", "--yes"], "'u1' is no identifier"),
        (["forget", "a@x.io"], "add --yes"),
        (["suppress", "a@x.io", "--json"], "add --yes"),
        (["forget", "user_id:null", "--yes"], "stands for nobody"),
        (["forget", "--file", "missing.csv", "--yes"], "there is no such file"),
    ],
)
def test_wrong_usage_does_nothing(shop: Shop, arguments: list[str], said: str) -> None:
    done = shop.run(*arguments, code=2)
    assert said in done.stderr
    assert done.stdout == ""
    assert shop.json("privacy") == []


def test_mistakes_in_a_file_are_told_at_once_with_their_lines(shop: Shop) -> None:
    file = shop.folder / "requests.csv"
    file.write_text("email\nu1@x.io\nnobody\nuser_id:u2\nuse_1:\n")
    done = shop.run("forget", "--file", str(file), "--yes", code=2)
    assert f"{file}:3:" in done.stderr
    assert f"{file}:5:" in done.stderr
    assert "Nothing was done." in done.stderr
    assert shop.json("privacy") == []


def test_doctor_shows_who_waits_at_a_paused_destination(shop: Shop) -> None:
    people(shop, "u1")
    shop.run("pause", "iterable")
    shop.run("forget", "u1@x.io", "--yes")
    found = {each["check"]: each for each in shop.json("doctor", code=1)}
    assert found["forget iterable"] == {
        "check": "forget iterable", "ok": False,
        "detail": "2 identifiers wait to be forgotten there (less than two minutes at its limits), and it is paused:"
        " engage-sync resume iterable",
    }  # fmt: skip
    assert "iterable: 2 identifiers wait, less than two minutes at its limits." in shop.run("privacy").stderr
    assert found["privacy key"]["detail"] == "all of it in the database"
    shop.run("resume", "iterable")
    shop.run("deliver", "--until-empty")
    assert not [each for each in shop.json("doctor") if each["check"].startswith("forget")]


def test_another_key_is_refused_before_anything_is_done(shop: Shop) -> None:
    shop.environment["ENGAGE_SYNC_PRIVACY_KEY"] = "one"
    shop.run("suppress", "a@x.io", "--yes")
    shop.environment["ENGAGE_SYNC_PRIVACY_KEY"] = "another"
    done = shop.run("import", shop.calls(*identify("u1", "a@x.io")), code=2)
    assert "ENGAGE_SYNC_PRIVACY_KEY is not the one" in done.stderr
    assert "privacy key" in {each["check"] for each in shop.json("doctor", code=1) if not each["ok"]}


def test_a_running_daemon_drops_what_comes_and_forgets_in_time(shop: Shop) -> None:
    """`up` is three processes; the command is a fourth."""
    people(shop, "u1", "u2")
    daemon = shop.up()
    try:
        assert shop.json("forget", "u1@x.io", "--yes")["unfinished"] == 0
        for number in range(20):
            call = {"type": "track", "event": "Order Completed", "userId": ("u1", "u2")[number % 2]}
            sent = httpx.post(f"http://127.0.0.1:{shop.port}/v1/track", json=call, auth=("web-key", ""))
            assert sent.status_code == 200
        until = time.monotonic() + 30
        while time.monotonic() < until:
            (record,) = shop.json("privacy")
            if record["status"] == "done":
                break
            time.sleep(0.2)
        assert record["status"] == "done"
        assert forgotten(shop) == [{"email": "u1@x.io"}, {"userId": "u1"}]
        shop.run("profile", "user_id:u2")
        shop.run("profile", "user_id:u1", code=1)
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0

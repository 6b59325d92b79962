"""`engage-sync explain` as its users run it: what it prints, its JSON document, and its mistakes."""

from __future__ import annotations

from datetime import timedelta

from tests.acceptance.test_commands import RECENT, Shop, T, identify, order, shop

__all__ = ["shop"]


def test_explain_prints_why_and_when_it_changes(shop: Shop) -> None:
    shop.audience("recent", RECENT)
    shop.run("apply", "--yes")
    shop.run("import", shop.calls(*identify("u1", "a@x.io"), order("u1", T), *identify("u2", "b@x.io")))
    shop.run("sync", "--as-of", T.isoformat())

    done = shop.run("explain", "recent", "email:A@x.io", "--as-of", (T + timedelta(days=1)).isoformat())
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "recent (audience 'recent'), as of 2026-03-02 12:00:00 UTC"
    assert lines[1].endswith(": user_id u1, email a@x.io")
    assert lines[2:] == [
        "",
        "✓ member",
        "Changes by itself at 2026-03-31 12:00:00.000001 UTC: leaves.",
        "",
        f"✓ {RECENT}",
        "    count() = 1",
        "      1 event counts",
        "      ✓ 2026-03-01 12:00:00 UTC  web  u1-2026-03-01T12:00:00+00:00",
        "",
        "Snapshot: member since 2026-03-01 12:00:00 UTC; last computed as of 2026-03-01 12:00:00 UTC",
        "Told:",
        "  iterable  a@x.io  identify: confirmed true",
    ]
    assert "no event 'Order Completed'" in shop.run("explain", "recent", "user_id:u2").stdout


def test_explain_as_json_has_stable_names(shop: Shop) -> None:
    shop.audience("recent", RECENT)
    shop.run("apply", "--yes")
    shop.run("import", shop.calls(*identify("u1", "a@x.io"), order("u1", T)))
    shop.run("sync", "--as-of", T.isoformat())
    found = shop.json("explain", "recent", "user_id:u1", "--as-of", T.isoformat())

    assert set(found) == {
        "key", "kind", "name", "query", "as_of", "enabled", "of_accounts", "include_anonymous", "events_since",
        "profile", "value", "counts_person", "expression", "accounts", "reading", "next_change", "referenced",
        "snapshot", "told",
    }  # fmt: skip
    assert (found["value"], found["as_of"]) == (True, "2026-03-01T12:00:00Z")
    change = found["next_change"]
    assert (change["at"], change["value"], change["is_complete"]) == ("2026-03-31T12:00:00.000001Z", False, True)
    assert found["snapshot"] == {
        "value": True, "since": "2026-03-01T12:00:00Z", "is_computed": True, "computed_as_of": "2026-03-01T12:00:00Z",
        "differs_because": [],
    }  # fmt: skip
    assert [each["confirmed"] for each in found["told"]] == [True]
    expression = found["expression"]
    assert (expression["kind"], expression["comparator"], expression["text"]) == ("comparison", "at_least", RECENT)
    assert expression["position"] == {"line": 1, "column": 1}
    assert expression["left"]["events"] == {
        "event": "Order Completed", "matched": 1, "left_out": [], "skipped": [], "made_by": None,
        "newest": [
            {"timestamp": "2026-03-01T12:00:00Z", "source": "web", "message_id": f"u1-{T.isoformat()}",
             "properties": {}, "context": {}}
        ],
        "newest_left_out": [],
    }  # fmt: skip


def test_explain_shows_each_account_and_the_row_of_an_sql_trait(shop: Shop) -> None:
    query = "ANY (event('Order Completed').within(30 days).exists()) AND trait('plan') = 'gold'"
    shop.write("audiences/active.yml", f"name: Active\ntype: ACCOUNTS\nquery: {query}\n")
    plan = "SELECT identities.value AS user_id, 'gold' AS tier FROM identities WHERE type = 'user_id' AND value = 'u1'"
    shop.write("traits/tiers.yml", f"name: Tiers\nkey: tiers\nsql: {plan}\n")
    shop.run("apply", "--yes")
    group = {"type": "group", "groupId": "acme", "traits": {"plan": "gold"}, "timestamp": T.isoformat()}
    groups = [{**group, "userId": user, "messageId": f"{user}-group"} for user in ("u1", "u2")]
    shop.run("import", shop.calls(*identify("u1", "a@x.io"), order("u1", T), *identify("u2", "b@x.io"), *groups))
    shop.run("sync", "--as-of", T.isoformat())

    found = shop.json("explain", "active", "user_id:u2", "--as-of", T.isoformat())
    assert (found["value"], found["of_accounts"], found["expression"], found["reading"]) == (True, True, None, None)
    (account,) = found["accounts"]
    assert set(account) == {
        "group_id", "timestamp", "is_newest", "users", "value", "is_told", "expression", "next_change",
    }  # fmt: skip
    assert (account["group_id"], account["users"], account["value"], account["is_told"]) == ("acme", 2, True, True)
    anybody = account["expression"]["operands"][0]
    assert (anybody["kind"], anybody["users"], anybody["met"]) == ("any", 2, 1)
    assert [(each["user"]["user_id"], each["value"]) for each in anybody["shown"]] == [("u2", False), ("u1", True)]
    printed = shop.run("explain", "active", "user_id:u2", "--as-of", T.isoformat()).stdout
    assert "✓ member: account acme qualifies\nChanges by itself at 2026-03-31 12:00:00.000001 UTC: leaves.\n" in printed

    found = shop.json("explain", "tiers", "email:a@x.io")
    assert (found["value"], found["next_change"]) == ({"tier": "gold"}, None)
    assert set(found["reading"]) == {
        "last", "error", "row", "matched_by", "is_merged", "learnt_since", "columns", "gone", "notes", "cadence",
        "known", "unknown",
    }  # fmt: skip
    assert found["reading"]["matched_by"] == {"type": "user_id", "value": "u1"}
    printed = shop.run("explain", "tiers", "email:a@x.io").stdout
    assert "✓ row of user_id u1, in the reading as of 2026-03-01 12:00:00 UTC (run " in printed


def test_explain_names_what_it_does_not_know(shop: Shop) -> None:
    shop.audience("recent", RECENT)
    shop.run("apply", "--yes")
    assert "Did you mean 'recent'?" in shop.run("explain", "recnt", "user_id:u1", code=1).stderr
    assert "user_id:u1" in shop.run("explain", "recent", "user_id:u1", code=1).stderr
    assert "email:" in shop.run("explain", "recent", "u1", code=2).stderr
    assert "--as-of" in shop.run("explain", "recent", "user_id:u1", "--as-of", "soon", code=2).stderr

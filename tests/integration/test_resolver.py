from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.integration.resolving import NOON, call, identify, people, person, reasons, resolve, rows


def test_identifiers_of_a_call_make_one_profile(engine: Engine) -> None:
    done = resolve(
        engine,
        call(
            userId="u1",
            anonymousId="a1",
            context={
                "traits": {"email": " Ann@X.io "},
                "externalIds": [
                    {"id": 7, "type": "crm", "collection": "users"},
                    {"id": "g", "type": "g", "collection": "accounts"},
                ],
                "device": {"id": "d1"},
            },
        ),
    )
    assert people(engine) == [
        person(["user_id:u1", "email:ann@x.io", "anonymous_id:a1", "crm:7", "device_id:d1"], events=["E"])
    ]
    assert (done.stored, done.touched, done.created, done.merges, done.rejected) == (1, 1, 1, [], [])


def test_anonymous_person_becomes_known(engine: Engine) -> None:
    resolve(engine, call(anonymousId="a1"))
    assert people(engine) == [person(["anonymous_id:a1"], events=["E"])]
    resolve(engine, identify("u1", {"plan": "pro"}, anonymousId="a1"))
    assert people(engine) == [person(["anonymous_id:a1", "user_id:u1"], events=["E"], traits={"plan": "pro"})]
    assert reasons(engine) == [["created", "event:E"], ["identity", "trait:plan"]]


def test_known_person_touches_by_the_event_only(engine: Engine) -> None:
    resolve(engine, call(userId="u1"))
    resolve(engine, call(userId="u1", event="F"), call(userId="u1", event="F"))
    assert reasons(engine)[1:] == [["event:F"]]


def test_two_user_ids_never_become_one(engine: Engine) -> None:
    done = resolve(engine, call(userId="u1", anonymousId="a"), call(userId="u2", anonymousId="a"))
    assert people(engine) == [
        person(["user_id:u1", "anonymous_id:a"], events=["E"]),
        person(["user_id:u2"], events=["E"]),
    ]
    assert done.merges == []
    resolve(engine, call(userId="u2", anonymousId="a", context={"traits": {"email": "e@x.io"}}), limits={"user_id": 9})
    assert people(engine) == [
        person(["user_id:u1", "anonymous_id:a"], events=["E"]),
        person(["user_id:u2", "email:e@x.io"], events=["E", "E"]),
    ]


def test_identifier_of_lowest_priority_gives_way_at_a_limit(engine: Engine) -> None:
    resolve(engine, *(call(userId="u", anonymousId=f"a{number}") for number in range(5)))
    resolve(engine, call(userId="u", anonymousId="a5", context={"traits": {"email": "e@x.io"}}))
    (first,) = people(engine)
    assert first["identities"] == ["user_id:u", *(f"anonymous_id:a{number}" for number in range(5)), "email:e@x.io"]
    resolve(engine, call(anonymousId="a5"))
    assert people(engine)[0] == person(["anonymous_id:a5"], events=["E"])


def test_limits_can_be_set(engine: Engine) -> None:
    resolve(engine, call(userId="u", anonymousId="a0"), call(userId="u", anonymousId="a1"), limits={"anonymous_id": 1})
    assert people(engine) == [person(["user_id:u", "anonymous_id:a0"], events=["E", "E"])]
    resolve(engine, call(userId="v", anonymousId="a9"), limits={"anonymous_id": 0})
    assert people(engine)[1] == person(["user_id:v"], events=["E"])


@pytest.mark.parametrize("value", ["null", "Undefined", "0", "000-00", "---", "00000000-0000-0000-0000-000000000000"])
def test_blocked_values_are_nobody(engine: Engine, value: str) -> None:
    done = resolve(engine, call(userId=value), call(userId=value, anonymousId="a"))
    assert done.rejected == [(0, "userId: no usable identifier (missing, or a value that stands for nobody)")]
    assert people(engine) == [person(["anonymous_id:a"], events=["E"])]


def test_what_is_no_email_is_no_identifier(engine: Engine) -> None:
    resolve(engine, identify("u", {"email": "not an email"}))
    assert people(engine) == [person(["user_id:u"], traits={"email": "not an email"})]


def test_merge_keeps_the_fuller_internal_id_and_the_older_public_id(engine: Engine) -> None:
    resolve(engine, call(anonymousId="old"))
    resolve(engine, call(userId="new"), call(userId="new"))
    (old, old_public), (new, new_public) = rows(engine, "SELECT id, public_id FROM profiles ORDER BY id")
    done = resolve(engine, call(userId="new", anonymousId="old"))
    assert done.merges == [(old, new)]
    assert rows(engine, "SELECT id, public_id FROM profiles") == [(new, old_public)]
    assert rows(engine, "SELECT public_id, profile_id FROM merges") == [(new_public, new)]
    assert people(engine) == [person(["anonymous_id:old", "user_id:new"], events=["E"] * 4)]


def test_links_to_a_profile_merged_twice_lead_to_the_last(engine: Engine) -> None:
    for name in "abc":
        resolve(engine, call(anonymousId=name))
    publics = [row.public_id for row in rows(engine, "SELECT public_id FROM profiles ORDER BY id")]
    for other in "bc":
        resolve(engine, call("alias", userId="u", previousId="a"), call("alias", userId="u", previousId=other))
    ((id_, public),) = rows(engine, "SELECT id, public_id FROM profiles")
    assert public == publics[0]
    links = rows(engine, "SELECT public_id, profile_id FROM merges")
    assert {(publics[1], id_), (publics[2], id_)} <= {tuple(link) for link in links}


def test_newer_trait_wins_a_merge(engine: Engine) -> None:
    noon, later = "2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z"
    resolve(engine, identify("u", {"plan": "u", "city": "u", "only_u": 1}, timestamp=noon))
    resolve(engine, identify(None, {"plan": "a", "city": "a"}, anonymousId="a", timestamp=later))
    resolve(engine, identify("u", {"city": "u2"}, timestamp="2026-01-01T14:00:00Z"))
    resolve(engine, call(userId="u", anonymousId="a"))
    (merged,) = people(engine)
    assert merged["traits"] == {"plan": "a", "city": "u2", "only_u": 1}


@pytest.mark.parametrize(
    ("timestamps", "kept"),
    [(("12:00", "13:00"), "second"), (("13:00", "12:00"), "first"), (("12:00", "12:00"), "second")],
)
def test_newest_trait_wins(engine: Engine, timestamps: tuple[str, str], kept: str) -> None:
    first, second = (f"2026-01-01T{time}:00Z" for time in timestamps)
    resolve(engine, identify("u", {"plan": "first"}, timestamp=first))
    resolve(engine, identify("u", {"plan": "second"}, timestamp=second))
    assert people(engine)[0]["traits"] == {"plan": kept}


def test_trait_set_to_the_same_value_touches_nobody(engine: Engine) -> None:
    value = {"b": [1, 2.50, "ä", 1e22, 12345678901234567890123], "a": None}
    resolve(engine, identify("u", {"plan": value}))
    done = resolve(engine, identify("u", {"plan": value}, received_at=NOON + timedelta(hours=1)))
    assert (done.stored, done.touched) == (1, 0)
    assert rows(engine, "SELECT timestamp FROM traits") == [(NOON + timedelta(hours=1),)]
    resolve(engine, identify("u", {"plan": None}, received_at=NOON + timedelta(hours=2)))
    assert people(engine)[0]["traits"] == {"plan": None}
    assert reasons(engine)[1:] == [["trait:plan"]]


def test_traits_in_the_context_only_identify(engine: Engine) -> None:
    resolve(engine, call(userId="u", context={"traits": {"email": "e@x.io", "plan": "pro"}}))
    assert people(engine) == [person(["user_id:u", "email:e@x.io"], events=["E"])]


@pytest.mark.parametrize(
    ("body", "event", "properties"),
    [
        ({"type_": "page", "name": "Home", "category": "Shop"}, "Page Viewed", {"name": "Home", "category": "Shop"}),
        ({"type_": "screen", "name": "A", "properties": {"name": "B", "x": 1}}, "Screen Viewed", {"name": "B", "x": 1}),
        (
            {"type_": "group", "groupId": "g", "traits": {"email": "g@x.io"}},
            "Group",
            {"email": "g@x.io", "groupId": "g"},
        ),
        (
            {"type_": "track", "event": "Bought", "properties": {"n": [1, {"ü": None}]}},
            "Bought",
            {"n": [1, {"ü": None}]},
        ),
    ],
)
def test_event_of_each_type(engine: Engine, body: dict[str, Any], event: str, properties: dict[str, Any]) -> None:
    resolve(engine, call(body.pop("type_"), userId="u", messageId="m", context={"ip": "::1"}, **body))
    (row,) = rows(engine, "SELECT name, properties, context, message_id, source_id, timestamp, received_at FROM events")
    assert tuple(row) == (event, properties, {"ip": "::1"}, "m", 1, NOON, NOON)
    assert people(engine)[0]["identities"] == ["user_id:u"]


def test_alias_links_what_was_anonymous(engine: Engine) -> None:
    resolve(engine, call(anonymousId="a"), call("alias", userId="u", previousId="a"), call(userId="u"))
    assert people(engine) == [person(["anonymous_id:a", "user_id:u"], events=["E", "E"])]


def test_alias_never_joins_two_user_ids(engine: Engine) -> None:
    resolve(engine, call(userId="u1"))
    resolve(engine, call("alias", userId="u2", previousId="u1"))
    assert people(engine) == [person(["user_id:u1"], events=["E"]), person(["user_id:u2"])]


@pytest.mark.parametrize(
    ("times", "timestamp", "adjusted"),
    [
        ({}, NOON, 0),
        ({"timestamp": "2025-12-31T12:00:00+01:00"}, datetime(2025, 12, 31, 11, tzinfo=UTC), 0),
        ({"timestamp": "2025-12-31"}, datetime(2025, 12, 31, tzinfo=UTC), 0),
        ({"timestamp": 1767182400}, datetime(2025, 12, 31, 12, tzinfo=UTC), 0),
        ({"timestamp": 1767182400000}, datetime(2025, 12, 31, 12, tzinfo=UTC), 0),
        ({"timestamp": "2026-01-01T15:00:00Z", "sentAt": "2026-01-01T15:10:00Z"}, NOON - timedelta(minutes=10), 0),
        (
            {"originalTimestamp": "2026-01-01T15:00:00Z", "sentAt": "2026-01-01T15:10:00Z", "timestamp": "2020-01-01"},
            NOON - timedelta(minutes=10),
            0,
        ),
        ({"timestamp": "2025-12-31", "sentAt": "soon"}, datetime(2025, 12, 31, tzinfo=UTC), 0),
        ({"timestamp": "yesterday"}, NOON, 1),
        ({"timestamp": {}}, NOON, 1),
        ({"timestamp": "1969-12-31T23:59:59Z"}, NOON, 1),
        ({"timestamp": "2200-01-01T00:00:00Z"}, NOON, 1),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, NOON, 1),
        ({"timestamp": "9999-12-31T23:59:59-14:00", "sentAt": "0001-01-01"}, NOON, 1),
        ({"timestamp": 1e14}, NOON, 1),
    ],
)
def test_when_it_happened(engine: Engine, times: dict[str, Any], timestamp: datetime, adjusted: int) -> None:
    done = resolve(engine, call(userId="u", **times))
    assert rows(engine, "SELECT timestamp FROM events") == [(timestamp,)]
    assert done.adjusted_timestamps == adjusted


def test_files_say_when_it_happened(engine: Engine) -> None:
    archived = {"timestamp": "2020-01-01T00:00:00Z", "sentAt": "2020-01-01T00:00:05Z"}
    done = resolve(engine, call(userId="u", row=1, **archived), call(userId="u", row=2, timestamp="soon"))
    assert rows(engine, "SELECT timestamp FROM events") == [(datetime(2020, 1, 1, tzinfo=UTC),)]
    assert done.rejected == [(1, "timestamp: expected an ISO 8601 date-time or a Unix time")]


def test_message_id_counts_once_for_ever_and_by_source(engine: Engine) -> None:
    twice = resolve(engine, call(userId="u", messageId="m"), call(userId="u", messageId="m"))
    again = resolve(engine, call(userId="v", messageId="m"), call(userId="u", messageId="m", source=2))
    assert (twice.stored, twice.duplicates, again.stored, again.duplicates) == (1, 1, 1, 1)
    assert people(engine) == [person(["user_id:u"], events=["E", "E"])]


def test_new_profile_with_more_events_takes_a_stored_one_in(engine: Engine) -> None:
    resolve(engine, identify(None, {"plan": "pro"}, anonymousId="a"))
    ((old, public),) = rows(engine, "SELECT id, public_id FROM profiles")
    done = resolve(engine, call(userId="u"), call(userId="u"), call(userId="u", anonymousId="a"))
    ((kept, kept_public),) = rows(engine, "SELECT id, public_id FROM profiles")
    assert (done.merges, kept_public) == ([(old, kept)], public)
    assert people(engine) == [person(["anonymous_id:a", "user_id:u"], events=["E"] * 3, traits={"plan": "pro"})]

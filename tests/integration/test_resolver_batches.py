"""Resolving a batch is resolving its calls one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from engage_sync.database import scratch
from engage_sync.ingest.calls import IncomingCall
from tests.integration.resolving import call, people, resolve, rows

_user = st.sampled_from([None, "u1", "u2", "a1"])
_anonymous = st.sampled_from(["a1", "a2", "a3"])
_email = st.sampled_from([None, None, "e1@x.io", "e2@x.io"])
_when = st.sampled_from([f"2026-01-0{day}T00:00:00Z" for day in (1, 2)])


@st.composite
def _calls(draw: st.DrawFn) -> IncomingCall:
    kind = draw(st.sampled_from(["track", "identify", "alias", "group"]))
    body: dict[str, Any] = {"timestamp": draw(_when)}
    if kind == "alias":
        return call("alias", userId=draw(_anonymous), previousId=draw(_anonymous), **body)
    body |= {"userId": draw(_user), "anonymousId": draw(_anonymous), "context": {"traits": {"email": draw(_email)}}}
    if kind == "identify":
        body["traits"] = {draw(st.sampled_from(["t", "s"])): draw(st.integers(0, 3))}
        if email := draw(_email):
            body["traits"]["email"] = email
    if kind == "group":
        body |= {"groupId": draw(st.sampled_from(["g1", "g2"])), "traits": {"plan": draw(st.integers(0, 2))}}
    return call(kind, **body)


def _state(engine: Engine) -> tuple[Any, ...]:
    timestamps = "SELECT name, value, timestamp FROM traits ORDER BY name, value, timestamp"
    accounts = (
        "SELECT group_id, name, value, timestamp FROM accounts LEFT JOIN account_traits ON account_id = accounts.id"
        " ORDER BY accounts.id, name"
    )
    members = (
        "SELECT group_id, timestamp,"
        " (SELECT min(type || value) FROM identities WHERE profile_id = account_members.profile_id) AS member"
        " FROM account_members JOIN accounts ON accounts.id = account_id ORDER BY 1, 3"
    )
    return people(engine), rows(engine, timestamps), rows(engine, accounts), rows(engine, members)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.lists(_calls(), max_size=6),
    batch=st.lists(_calls(), min_size=2, max_size=8),
    emails=st.sampled_from([1, 2]),
)
def test_batch_equals_one_by_one(
    engine: Engine, before: list[IncomingCall], batch: list[IncomingCall], emails: int
) -> None:
    limits = {"anonymous_id": 2, "email": emails}
    outcomes = []
    for batches in ([batch], [[one] for one in batch]):
        with engine.begin() as connection:
            scratch.empty(connection)
        for one in before:
            resolve(engine, one, limits=limits)
        publics = rows(engine, "SELECT public_id, id FROM profiles")
        known = {row.public_id: number for number, row in enumerate(sorted(publics, key=lambda row: row.id))}
        for calls in batches:
            resolve(engine, *calls, limits=limits)
        kept = rows(
            engine,
            "SELECT public_id, (SELECT min(type || value) FROM identities WHERE profile_id = profiles.id) FROM profiles"
            " UNION ALL SELECT public_id,"
            " (SELECT min(type || value) FROM identities WHERE profile_id = merges.profile_id) FROM merges",
        )
        # Public ids are random: those of before are compared by the order in which they were made.
        links = sorted((known[public], name) for public, name in kept if public in known)
        outcomes.append((*_state(engine), links))
    assert outcomes[0] == outcomes[1]

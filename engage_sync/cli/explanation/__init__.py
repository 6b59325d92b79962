"""An explanation as people read it: lines that look like the query, with a mark before each condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engage_sync.cli.explanation import accounts, reading, words
from engage_sync.cli.explanation.expression import node_lines
from engage_sync.cli.explanation.words import INDENT


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """An explanation as people read it."""
    yield from _heading(found)
    yield ""
    yield from _verdict(found)
    yield ""
    if found["reading"] is not None:
        yield from reading.lines(found)
        yield ""
    elif found["accounts"] is None:
        yield from node_lines(found["expression"], 0)
        yield ""
    elif found["accounts"]:
        yield from accounts.lines(found)
        yield ""
    yield from _snapshot(found)
    yield from _told(found["told"])


# --- who, what, and the answer --------------------------------------------------------------------------------------


def _heading(found: Mapping[str, Any]) -> Iterator[str]:
    kind = "audience" if found["kind"] == "audience" else "computed trait"
    if found["reading"] is not None:
        kind = "SQL trait"
    of_accounts = " of accounts" if found["of_accounts"] else ""
    yield f"{found['key']} ({kind}{of_accounts} {found['name']!r}), as of {words.instant(found['as_of'])}"
    person = found["profile"]
    named = ", ".join(f"{each['type']} {each['value']}" for each in person["identities"])
    yield f"{person['profile_id']}: {named or 'without identities'}"


def _verdict(found: Mapping[str, Any]) -> Iterator[str]:
    is_audience = found["kind"] == "audience"
    yield _said(found["value"], is_audience) + ("" if found["accounts"] is None else accounts.because(found))
    if not found["counts_person"]:
        yield "Anonymous people (without a user id or an email) don't count: include_anonymous is false."
    if found["events_since"] is not None:
        yield f"Events before {words.instant(found['events_since'])} don't count (include_historical_data)."
    if found["reading"] is not None:
        yield from reading.until(found)
        return
    change = found["next_change"]
    becomes = words.becoming(change["value"])
    if is_audience:
        becomes = "enters" if change["value"] else "leaves"
    yield words.change(change, becomes)
    for other in found["referenced"]:
        yield from _referenced(other, found["profile"]["profile_id"])


def _referenced(other: Mapping[str, Any], profile_id: str) -> Iterator[str]:
    if other["by_sql"]:
        yield f"{INDENT}{other['key']}, which it refers to, is read by SQL: it changes when it is read again."
        return
    at = other["next_change"]["at"]
    if at is None:
        return
    # Several people where it is asked of all users of an account.
    turns: dict[str, list[str]] = {}
    for each in other["of"]:
        who = "" if each["user"]["profile_id"] == profile_id else words.person(each["user"])
        turns.setdefault(_turns(each["value"], other["kind"] == "audience"), []).append(who)
    is_alone = list(turns.values()) == [[""]]
    said = ", ".join(
        how if is_alone else f"{how} for {words.enumerated([each or 'this person' for each in who])}"
        for how, who in turns.items()
    )
    yield f"{INDENT}{other['key']}, which it refers to, {said} by itself at {words.edge(at)}."


def _turns(value: Any, is_audience: bool) -> str:
    if is_audience:
        return "turns true" if value else "turns false"
    return "loses its value" if value is None else f"turns to {words.value(value)}"


def _said(value: Any, is_audience: bool) -> str:
    if is_audience:
        return "✓ member" if value else "✗ no member"
    return "✗ no value" if value is None else f"✓ value: {words.value(value)}"


# --- what was computed, and what was told ---------------------------------------------------------------------------


def _snapshot(found: Mapping[str, Any]) -> Iterator[str]:
    snapshot = found["snapshot"]
    if found["reading"] is not None and not snapshot["is_computed"]:
        return
    if not snapshot["is_computed"]:
        yield f"Not computed yet: engage-sync compute {found['key']}"
        return
    since = "" if snapshot["since"] is None else f" since {words.instant(snapshot['since'])}"
    said = _said(snapshot["value"], found["kind"] == "audience").removeprefix("✓ ").removeprefix("✗ ")
    yield f"Snapshot: {said}{since}; last computed as of {words.instant(snapshot['computed_as_of'])}"
    if snapshot["value"] != found["value"]:
        yield from (f"{INDENT}differs from this evaluation: {reason}" for reason in snapshot["differs_because"])


def _told(told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not told:
        yield "Told: nothing, to nobody."
        return
    yield "Told:"
    for each in told:
        confirmed = "nothing confirmed" if each["confirmed"] is None else f"confirmed {words.value(each['confirmed'])}"
        waiting = "" if each["enqueued"] is None else f", waiting {words.value(each['enqueued'])}"
        unknown = ", answer lost: sent again at the next occasion" if each["is_unknown"] else ""
        who = f"{each['destination']}  {each['identity_value']}  {each['call_type']}"
        yield f"{INDENT}{who}: {confirmed}{waiting}{unknown}"

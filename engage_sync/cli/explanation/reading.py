"""The row that an SQL trait's last reading brought to a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engage_sync.cli.explanation import words
from engage_sync.cli.explanation.words import INDENT


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """How the value came here, and its columns."""
    reading = found["reading"]
    last = reading["last"]
    if last is None:
        yield from _sentences(reading)
        if not reading["known"]:
            yield f"Not read yet: engage-sync compute {found['key']}"
        if reading["error"] is not None:
            yield f"Its last reading failed: {reading['error']}"
        return
    when = f"the reading as of {words.instant(last['as_of'])} (run {last['run_id']})"
    if reading["row"] is None:
        yield f"✗ no row for this person in {when}"
    else:
        yield f"✓ row{_matched(found)} in {_source(found, when)}"
        yield from _columns(reading)
    for each in reading["learnt_since"]:
        yield f"{INDENT}{each['type']} {each['value']} was learnt after that; its row counts from the next reading on"
    for note in reading["notes"]:
        yield f"{note}."
    if reading["error"] is not None:
        yield f"The last reading failed since, so that what was read before stands: {reading['error']}"
    yield from _sentences(reading)


def until(found: Mapping[str, Any]) -> Iterator[str]:
    """When the value may change; of the past it isn't asked."""
    if found["reading"]["known"]:
        return
    cadence = found["reading"]["cadence"]
    when = "on the schedule" if cadence is None else f"by its compute_cadence ({cadence})"
    yield f"Changes only when it is read again: {when}, or by engage-sync compute {found['key']}."


def _matched(found: Mapping[str, Any]) -> str:
    matched = found["reading"]["matched_by"]
    if matched is None:
        return ""
    theirs = {"type": matched["type"], "value": matched["value"]} in found["profile"]["identities"]
    gone = "" if theirs else ", no longer this person's"
    return f" of {matched['type']} {matched['value']}{gone},"


def _source(found: Mapping[str, Any], when: str) -> str:
    if found["reading"]["is_merged"]:
        since = words.instant(found["snapshot"]["since"])
        return f"an earlier reading than {when}: it came with a profile that was merged into this one at {since}"
    return when


def _columns(reading: Mapping[str, Any]) -> Iterator[str]:
    gone = set(reading["gone"])
    for name, value in reading["row"].items():
        note = "   (a column of an earlier version: told as null)" if name in gone else ""
        yield f"{INDENT}{name} = {words.value(value)}{note}"


def _sentences(reading: Mapping[str, Any]) -> Iterator[str]:
    for name, heading in (("known", "Known of that instant"), ("unknown", "Not known of that instant")):
        for sentence in reading[name]:
            yield f"{heading}: {sentence}."

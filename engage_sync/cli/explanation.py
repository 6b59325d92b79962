"""An explanation as people read it: lines that look like the query, with a mark before each condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

_INDENT = "  "
_LONGEST_VALUE = 80
_LONGEST_REASON = 50
_JUNCTIONS = {"and": "all of (AND):", "or": "any of (OR):", "not": "not (NOT):"}


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """An explanation as people read it."""
    yield from _heading(found)
    yield ""
    yield from _verdict(found)
    yield ""
    yield from _node(found["expression"], 0)
    yield ""
    yield from _snapshot(found)
    yield from _told(found["told"])


# --- who, what, and the answer --------------------------------------------------------------------------------------


def _heading(found: Mapping[str, Any]) -> Iterator[str]:
    kind = "audience" if found["kind"] == "audience" else "computed trait"
    yield f"{found['key']} ({kind} {found['name']!r}), as of {_instant(found['as_of'])}"
    person = found["profile"]
    named = ", ".join(f"{each['type']} {each['value']}" for each in person["identities"])
    yield f"{person['profile_id']}: {named or 'without identities'}"


def _verdict(found: Mapping[str, Any]) -> Iterator[str]:
    is_audience = found["kind"] == "audience"
    yield _said(found["value"], is_audience)
    if not found["counts_person"]:
        yield "Anonymous people (without a user id or an email) don't count: include_anonymous is false."
    if found["events_since"] is not None:
        yield f"Events before {_instant(found['events_since'])} don't count (include_historical_data)."
    change = found["next_change"]
    yield _change(change, is_audience)
    for other in found["referenced"]:
        turn = other["next_change"]
        if turn["at"] is not None:
            turns = _turns(turn["value"], other["kind"] == "audience")
            yield f"{_INDENT}{other['key']}, which it refers to, {turns} by itself at {_edge(turn['at'])}."


def _turns(value: Any, is_audience: bool) -> str:
    if is_audience:
        return "turns true" if value else "turns false"
    return "loses its value" if value is None else f"turns to {_value(value)}"


def _said(value: Any, is_audience: bool) -> str:
    if is_audience:
        return "✓ member" if value else "✗ no member"
    return "✗ no value" if value is None else f"✓ value: {_value(value)}"


def _change(change: Mapping[str, Any], is_audience: bool) -> str:
    if change["at"] is not None:
        becomes = "enters" if change["value"] is True else "leaves"
        if not is_audience:
            becomes = "no value" if change["value"] is None else f"becomes {_value(change['value'])}"
        others = change["because"]
        because = f", as {_enumerated(others)} {_plural(len(others), 'changes', 'change')} then" if others else ""
        return f"Changes by itself at {_edge(change['at'])}: {becomes}{because}."
    if not change["is_complete"]:
        return (
            f"Doesn't change by itself until {_instant(change['until'])};"
            f" {change['instants']:,} instants looked at, and there are more."
        )
    return "Never changes by itself."


# --- the expression -------------------------------------------------------------------------------------------------


def _node(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    kind = node["kind"]
    if kind in _JUNCTIONS:
        yield _INDENT * depth + f"{_mark(node)} {_JUNCTIONS[kind]}"
        for operand in node["operands"]:
            yield from _node(operand, depth + 1)
    elif kind == "comparison":
        yield _INDENT * depth + f"{_mark(node)} {node['text']}{_open(node)}"
        for value in (node["left"], *node["arguments"]):
            yield from _operand(value, depth + 2)
    else:
        yield from _operand(node, depth)


def _mark(node: Mapping[str, Any]) -> str:
    return {True: "✓", False: "✗"}.get(node["value"], "?")


def _open(node: Mapping[str, Any]) -> str:
    if "open_until" not in node:
        return ""
    return f"   window open until {_edge(node['open_until'])}" + ("" if node["value"] else ": not decided yet")


def _operand(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    """One side of a comparison; nothing of what stands in the query anyway."""
    if node["kind"] in ("literal", "duration"):
        return
    said = "is absent" if node["value"] is None else f"= {_value(node['value'])}"
    # Of an aggregate the text stands in the line above, unless it is all there is.
    named = node["reducer"] if depth and "reducer" in node else node["text"]
    yield _INDENT * depth + f"{named} {said}{_origin(node)}"
    if "events" in node:
        yield from _events(node["events"], depth + 1)


def _origin(node: Mapping[str, Any]) -> str:
    notes = []
    if node.get("since") is not None:
        notes.append(f"since {_instant(node['since'])}" if node["definition"] else f"sent {_instant(node['since'])}")
    elif node.get("definition"):
        notes.append("nothing computed for this person")
    if node.get("is_expected") is False:
        notes.append(f"no {node['expected']}, so the comparison is false")
    return f"   ({'; '.join(notes)})" if notes else ""


# --- events ---------------------------------------------------------------------------------------------------------


def _events(found: Mapping[str, Any], depth: int) -> Iterator[str]:
    pad = _INDENT * depth
    left_out = found["left_out"]
    if not found["matched"] and not left_out:
        yield f"{pad}no event {found['event']!r}"
        return
    line = f"{found['matched']:,} {_plural(found['matched'], 'event counts', 'events count')}"
    if left_out:
        line += "; left out: " + ", ".join(f"{each['events']:,} {_reason(each)}" for each in left_out)
    yield pad + line
    for skipped in found["skipped"]:
        yield (
            f"{pad}{skipped['skipped']:,} of {skipped['values']:,} values of {skipped['text']} are no"
            f" {skipped['expected']} and skipped, for example {_value(skipped['example'])}"
        )
    made_by = found["made_by"]
    if made_by is not None:
        yield from _event(made_by, depth, "★", note="   (makes the value)")
    others = [each for each in found["newest"] if made_by is None or not _is_same(each, made_by)]
    yield from _list(others, found["matched"] - (made_by is not None), depth, "✓")
    yield from _list(found["newest_left_out"], sum(each["events"] for each in left_out), depth, "✗")


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("timestamp", "source", "message_id"))


def _list(events: Sequence[Mapping[str, Any]], total: int, depth: int, mark: str) -> Iterator[str]:
    for event in events:
        note = f"   ({_reason(event['left_out_by'])})" if "left_out_by" in event else ""
        yield from _event(event, depth, mark, note=note)
    if events and total > len(events):
        yield f"{_INDENT * depth}… and {total - len(events):,} more"


def _event(event: Mapping[str, Any], depth: int, mark: str, *, note: str = "") -> Iterator[str]:
    read = {**event["properties"], **event["context"]}
    shown = "".join(f"  {name}: {'absent' if value is None else _value(value)}" for name, value in read.items())
    where = f"{event['source']}  {event['message_id']}"
    yield f"{_INDENT * depth}{mark} {_instant(event['timestamp'])}  {where}{shown}{note}"
    for condition in event.get("where", ()):
        if _says_more(condition):
            yield from _node(condition, depth + 2)


def _says_more(condition: Mapping[str, Any]) -> bool:
    """Whether a `where` looks beyond its event: its own properties are on the event's line."""
    below = [*condition.get("operands", ()), *condition.get("arguments", ())]
    below += [condition["left"]] if "left" in condition else []
    return condition["kind"] in ("aggregate", "trait") or any(_says_more(each) for each in below)


def _reason(reason: Mapping[str, Any]) -> str:
    match reason["by"]:
        case "future":
            return "of the future"
        case "history":
            return "by include_historical_data"
        case _:
            text: str = reason["text"]
            return "by " + (text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "…")


# --- what was computed, and what was told ---------------------------------------------------------------------------


def _snapshot(found: Mapping[str, Any]) -> Iterator[str]:
    snapshot = found["snapshot"]
    if not snapshot["is_computed"]:
        yield f"Not computed yet: engage-sync compute {found['key']}"
        return
    since = "" if snapshot["since"] is None else f" since {_instant(snapshot['since'])}"
    said = _said(snapshot["value"], found["kind"] == "audience").removeprefix("✓ ").removeprefix("✗ ")
    yield f"Snapshot: {said}{since}; last computed as of {_instant(snapshot['computed_as_of'])}"
    if snapshot["value"] != found["value"]:
        yield from (f"{_INDENT}differs from this evaluation: {reason}" for reason in snapshot["differs_because"])


def _told(told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not told:
        yield "Told: nothing, to nobody."
        return
    yield "Told:"
    for each in told:
        confirmed = "nothing confirmed" if each["confirmed"] is None else f"confirmed {_value(each['confirmed'])}"
        waiting = "" if each["enqueued"] is None else f", waiting {_value(each['enqueued'])}"
        unknown = ", answer lost: sent again at the next occasion" if each["is_unknown"] else ""
        who = f"{each['destination']}  {each['identity_value']}  {each['call_type']}"
        yield f"{_INDENT}{who}: {confirmed}{waiting}{unknown}"


# --- words ----------------------------------------------------------------------------------------------------------


def _enumerated(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _plural(number: int, one: str, many: str) -> str:
    return one if number == 1 else many


def _value(value: Any) -> str:
    """A value as JSON, shortened."""
    made = orjson.dumps(value, default=str).decode()
    return made if len(made) <= _LONGEST_VALUE else made[:_LONGEST_VALUE] + "…"


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _edge(at: datetime) -> str:
    """With fractions of a second where there are any: an edge may lie a microsecond behind."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC") if at.microsecond else _instant(at)

"""Expressions with their values, and the events behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engage_sync.cli.explanation import words
from engage_sync.cli.explanation.words import INDENT

_LONGEST_REASON = 50
_DECIDES = {"any": "one is enough", "all": "all are needed"}
_JUNCTIONS = {"and": "all of (AND):", "or": "any of (OR):", "not": "not (NOT):"}


def node_lines(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    kind = node["kind"]
    if kind in _JUNCTIONS:
        yield INDENT * depth + f"{mark_of(node)} {_JUNCTIONS[kind]}"
        for operand in node["operands"]:
            yield from node_lines(operand, depth + 1)
    elif kind == "comparison":
        yield INDENT * depth + f"{mark_of(node)} {node['text']}{_open(node)}"
        for value in (node["left"], *node["arguments"]):
            yield from _operand(value, depth + 2)
    elif kind in _DECIDES:
        yield from _users(node, depth)
    else:
        yield from _operand(node, depth, is_whole=True)


def mark_of(node: Mapping[str, Any]) -> str:
    return {True: "✓", False: "✗"}.get(node["value"], "?")


def _open(node: Mapping[str, Any]) -> str:
    if "open_until" not in node:
        return ""
    return f"   window open until {words.edge(node['open_until'])}" + ("" if node["value"] else ": not decided yet")


def _users(node: Mapping[str, Any], depth: int) -> Iterator[str]:
    """How ANY or ALL decided."""
    total, met, pad = node["users"], node["met"], INDENT * (depth + 2)
    yield INDENT * depth + f"{mark_of(node)} {node['text']}"
    if not total:
        yield f"{pad}there are no users of whom it could hold"
        return
    users = words.plural(total, "user", "users")
    yield f"{pad}holds for {met:,} of {total:,} {users}; {_DECIDES[node['kind']]}"
    for each in node["shown"]:
        yield f"{pad}{mark_of(each)} {words.person(each['user'])}"
        yield from node_lines(each["expression"], depth + 4)
    if total > len(node["shown"]):
        yield f"{pad}… and {total - len(node['shown']):,} more"


def _operand(node: Mapping[str, Any], depth: int, *, is_whole: bool = False) -> Iterator[str]:
    """One side of a comparison; nothing of what stands in the query anyway."""
    if node["kind"] in ("literal", "duration"):
        return
    said = "is absent" if node["value"] is None else f"= {words.value(node['value'])}"
    # Of an aggregate the text stands in the line above, unless it is all there is.
    named = node["reducer"] if "reducer" in node and not is_whole else node["text"]
    yield INDENT * depth + f"{named} {said}{_origin(node)}"
    if "events" in node:
        yield from _events(node["events"], depth + 1)


def _origin(node: Mapping[str, Any]) -> str:
    notes = []
    if node.get("since") is not None:
        notes.append(f"{'since' if node['definition'] else 'sent'} {words.instant(node['since'])}")
    elif node.get("definition"):
        notes.append("nothing computed for this person")
    if node.get("is_expected") is False:
        notes.append(f"no {node['expected']}, so the comparison is false")
    return f"   ({'; '.join(notes)})" if notes else ""


# --- events ---------------------------------------------------------------------------------------------------------


def _events(found: Mapping[str, Any], depth: int) -> Iterator[str]:
    pad = INDENT * depth
    left_out = found["left_out"]
    if not found["matched"] and not left_out:
        yield f"{pad}no event {found['event']!r}"
        return
    line = f"{found['matched']:,} {words.plural(found['matched'], 'event counts', 'events count')}"
    if left_out:
        line += "; left out: " + ", ".join(f"{each['events']:,} {_reason(each)}" for each in left_out)
    yield pad + line
    for skipped in found["skipped"]:
        yield (
            f"{pad}{skipped['skipped']:,} of {skipped['values']:,} values of {skipped['text']} are no"
            f" {skipped['expected']} and skipped, for example {words.value(skipped['example'])}"
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
        yield f"{INDENT * depth}… and {total - len(events):,} more"


def _event(event: Mapping[str, Any], depth: int, mark: str, *, note: str = "") -> Iterator[str]:
    read = {**event["properties"], **event["context"]}
    shown = "".join(f"  {name}: {'absent' if value is None else words.value(value)}" for name, value in read.items())
    where = f"{event['source']}  {event['message_id']}"
    if "user" in event:
        where += f"  of {words.person(event['user'])}"
    yield f"{INDENT * depth}{mark} {words.instant(event['timestamp'])}  {where}{shown}{note}"
    for condition in event.get("where", ()):
        if _says_more(condition):
            yield from node_lines(condition, depth + 2)


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

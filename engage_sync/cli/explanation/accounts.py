"""What a definition of accounts says of each account of a person, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engage_sync.cli.explanation import words
from engage_sync.cli.explanation.expression import node_lines
from engage_sync.cli.explanation.words import INDENT

_NONE = ": none of the accounts qualifies"


def because(found: Mapping[str, Any]) -> str:
    """Why a person has the verdict or value they have, to stand behind it."""
    accounts = found["accounts"]
    if not found["counts_person"]:
        return ""
    if not accounts:
        return ": in no account"
    if found["kind"] != "audience":
        newest = next(each for each in accounts if each["is_newest"])
        return f" (that of account {newest['group_id']}, which the newest group call named)"
    qualify = [each["group_id"] for each in accounts if each["value"]]
    if not qualify:
        return (
            f": none of {len(accounts):,} accounts qualifies" if len(accounts) > 1 else ": the account doesn't qualify"
        )
    return f": {_named(qualify)} {words.plural(len(qualify), 'qualifies', 'qualify')}"


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Each account with its expressions; of those that aren't shown, how many there are."""
    is_audience = found["kind"] == "audience"
    accounts = found["accounts"]
    shown = [each for each in accounts if each["expression"] is not None]
    for number, account in enumerate(shown):
        if number:
            yield ""
        yield from _account(account, is_audience, is_only=len(accounts) == 1)
    rest = accounts[len(shown) :]
    if rest:
        qualify = sum(each["value"] is True for each in rest)
        yield f"… and {len(rest):,} more accounts" + (f", of which {qualify:,} qualify" if is_audience else "")


def _account(account: Mapping[str, Any], is_audience: bool, *, is_only: bool) -> Iterator[str]:
    users = f"{account['users']:,} {words.plural(account['users'], 'user', 'users')}"
    named = f"named by this person {words.instant(account['timestamp'])}"
    if is_audience:
        yield f"{'✓' if account['value'] else '✗'} account {account['group_id']}   ({users}; {named})"
        becomes = "qualifies" if account["next_change"]["value"] else "doesn't qualify any more"
    else:
        value = "no value" if account["value"] is None else words.value(account["value"])
        counts = "the newest" if account["is_newest"] else "not the newest, so it doesn't count"
        mark = "✓" if account["is_told"] else "✗"
        yield f"{mark} account {account['group_id']}: {value}   ({users}; {named}, {counts})"
        becomes = words.becoming(account["next_change"]["value"])
    if not is_only:
        yield INDENT + words.change(account["next_change"], becomes)
    yield from node_lines(account["expression"], 1)


def _named(names: Sequence[str]) -> str:
    return f"{words.plural(len(names), 'account', 'accounts')} {words.enumerated(names)}"

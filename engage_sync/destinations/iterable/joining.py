"""Several updates of one user as one: what each says, the later one last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from engage_sync.destinations.iterable.mapping import USERS_UPDATE
from engage_sync.destinations.protocol import Request

# As many fields in one update as a person can still read in Iterable's own record of it.
MOST: Final = 100


def joined(requests: Sequence[Request]) -> Request | None:
    """One users/update that says what these say in turn; None where they aren't such updates of one user."""
    first = requests[0]
    if first.path != USERS_UPDATE or len(requests) > MOST:
        return None
    fields: dict[str, Any] = {}
    for request in requests:
        if (request.path, request.budget, _rest(request)) != (first.path, first.budget, _rest(first)):
            return None
        said = request.body["dataFields"]
        # Merged into one another they would be something else than one after the other.
        if first.body.get("mergeNestedObjects") and any(isinstance(said[name], dict) for name in fields.keys() & said):
            return None
        fields.update(said)
    return Request(method=first.method, path=first.path, body={**first.body, "dataFields": fields}, budget=first.budget)


def _rest(request: Request) -> dict[str, Any]:
    """Who it is, and how it is to be written."""
    return {name: value for name, value in request.body.items() if name != "dataFields"}

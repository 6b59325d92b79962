"""The names of all functions, and which of them a wrong name was probably meant to be."""

from __future__ import annotations

from engage_sync.definitions.language.problems import closest
from engage_sync.definitions.language.tree import Comparator

EXTRACTORS = ("event", "trait", "property", "context", "literal", "entity")
FILTERS = ("where", "sources", "within", "between")
REDUCERS = ("count", "sum", "avg", "min", "max", "mode", "first", "last", "unique")
COMPARATORS = tuple(comparator.value for comparator in Comparator)
FUNCTIONS = (*EXTRACTORS, *FILTERS, *REDUCERS, *COMPARATORS)

# Names that other languages have for it, too far from ours to be found by their letters.
ELSEWHERE = {
    "average": "avg",
    "distinct": "unique",
    "filter": "where",
    "gt": "greater_than",
    "gte": "at_least",
    "has": "contains",
    "in": "one_of",
    "includes": "contains",
    "is": "equals",
    "is_in": "one_of",
    "is_not_null": "exists",
    "is_null": "absent",
    "is_set": "exists",
    "is_not_set": "absent",
    "like": "contains",
    "lt": "less_than",
    "lte": "at_most",
    "maximum": "max",
    "minimum": "min",
    "not_contains": "omits",
    "not_equals": "differs",
    "not_in": "none_of",
    "total": "sum",
    "user": "trait",
}


def guess(name: str) -> str | None:
    """The function that was probably meant by a name that isn't one."""
    return ELSEWHERE.get(name.lower()) or closest(name, FUNCTIONS)


def hint(name: str, otherwise: str) -> str:
    """The end of a message about an unknown function."""
    meant = guess(name)
    return f"; did you mean '{meant}'?" if meant else f"; expected {otherwise}"

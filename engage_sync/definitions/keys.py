"""The keys of definitions: one name space for audiences and traits, fixed once made."""

from __future__ import annotations

import re

RESERVED = frozenset({"email", "audience_key", "trait_key"})
"""Names that a message needs for itself: a definition's value beside them would overwrite who it is about."""


def make_key(name: str) -> str:
    """The key of a name: lower case, each run of other characters than letters and digits one underscore.

    Letters are those of ASCII, as a key travels as a field's name. Empty where the name has none.
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")

"""Iterable: Segment calls become requests of its API, its answers become outcomes.

settings.py   what can be set, and what is wrong with given settings
mapping.py    one call → requests; dispatch by the call's type
commerce.py   carts and purchases
identity.py   whose call it is: email and userId
values.py     data fields: dates at every depth, names and numbers that Iterable takes
dates.py      ISO 8601 ⇄ Iterable's date format; Unix seconds
phone.py      phone numbers in E.164
privacy.py    forgetting and deleting a user
answers.py    answer → outcome
webhooks.py   the way back: what Iterable tells of emails and pushes → Segment calls
reading.py    asking for a user, and comparing what it holds
bulk.py       several requests → one; its answer → an outcome for each
"""

from engage_sync.destinations.iterable.destination import IterableDestination
from engage_sync.destinations.iterable.settings import DEFAULT_BUDGETS, IterableSettings

__all__ = ["DEFAULT_BUDGETS", "IterableDestination", "IterableSettings"]

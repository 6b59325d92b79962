"""A signed POST of each call to an address of your own.

settings.py      what can be set
destination.py   a call → one POST that holds it; an answer → an outcome
signature.py     the header by which a receiver knows who sent a body, and when
"""

from engage_sync.destinations.webhook.destination import WebhookDestination
from engage_sync.destinations.webhook.settings import DEFAULT_BUDGETS, WebhookSettings

__all__ = ["DEFAULT_BUDGETS", "WebhookDestination", "WebhookSettings"]

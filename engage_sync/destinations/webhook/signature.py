"""`Engage-Signature: t=<Unix seconds>,v1=<hex>`, where v1 is the HMAC-SHA256 of `<t>.<body>` with the secret.

A receiver makes v1 anew from the raw body, compares in constant time, and refuses a `t` that is minutes old: so nobody
can make up a call, or send a recorded one again much later.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

HEADER: Final = "Engage-Signature"


def sign(secret: bytes, body: bytes, at: int) -> str:
    """The header's value for a body sent `at` that time, in Unix seconds."""
    digest = hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"

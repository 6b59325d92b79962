from __future__ import annotations

import pytest

from engage_sync.logs import without_emails


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("400 InvalidEmail: ann.smith+x@shop.example.com is none", "400 InvalidEmail: [email] is none"),
        ('{"email": "Ann@x.io", "more": ["b@y.io"]}', '{"email": "[email]", "more": ["[email]"]}'),
        ("Key (value, type)=(ann@x.io, email) exists", "Key (value, type)=([email], email) exists"),
        ("nobody @ all", "nobody @ all"),
    ],
)
def test_no_email_gets_into_a_log(text: str, expected: str) -> None:
    event = {"event": "destination_paused", "reason": text, "messages": 5}
    assert without_emails(None, "error", event) == {"event": "destination_paused", "reason": expected, "messages": 5}


def test_a_long_text_without_an_end_takes_no_time() -> None:
    text = "a" * 200_000 + "@"
    assert without_emails(None, "error", {"reason": text}) == {"reason": text}

from __future__ import annotations

import json
from typing import Any

import pytest

from engage_sync.destinations.protocol import Answer, Delivered, Rejected, Request, Retry, Unauthorized
from tests.unit.destinations.calls import iterable

REQUEST = Request(method="POST", path="/api/users/update", body={}, budget="identify")


def outcome(status: int, body: Any = None, **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = Answer(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=raw)
    return iterable().outcome(REQUEST, answer)


def iterable_body(code: str, msg: str = "") -> dict[str, Any]:
    return {"code": code, "msg": msg, "params": None}


@pytest.mark.parametrize("status", [200, 202])
def test_success_is_delivered(status: int) -> None:
    assert outcome(status, iterable_body("Success")) == Delivered()


def test_no_answer_is_retried_as_it_may_have_been_carried_out() -> None:
    assert iterable().outcome(REQUEST, None) == Retry(reason="no answer", after=None, unanswered=True)


def test_blocked_event_name_is_rejected_though_it_says_success() -> None:
    message = "Event 'X' is Disallowed from tracking"
    assert outcome(200, iterable_body("Success", message)) == Rejected(reason=f"200 Success: {message}")


@pytest.mark.parametrize("code", ["BadParams", "GenericError", "success", ""])
def test_other_code_with_status_200_is_rejected(code: str) -> None:
    assert outcome(200, iterable_body(code, "no")) == Rejected(reason=f"200 {code}: no" if code else "200 no")


def test_newer_endpoints_put_their_text_elsewhere() -> None:
    body = {"error": "NotFound", "message": "none here", "code": "error.catalogs.notFound"}
    assert outcome(404, body) == Rejected(reason="404 error.catalogs.notFound: none here")


@pytest.mark.parametrize("body", [b"", b"<html>", [], {}, {"code": 5}])
def test_answer_of_something_else_than_iterable_is_retried(body: Any) -> None:
    found = outcome(200, body)
    assert isinstance(found, Retry)
    assert not found.unanswered


@pytest.mark.parametrize("status", [302, 408, 429, 500, 502, 503, 504, 599])
def test_trouble_is_retried(status: int) -> None:
    found = outcome(status, iterable_body("GenericError", "later"))
    assert found == Retry(
        reason=f"{status} GenericError: later", after=None, unanswered=False, is_throttled=status == 429
    )


@pytest.mark.parametrize(
    ("header", "after"), [("3", 3.0), (" 12 ", 12.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None), ("", None)]
)
def test_retry_after_in_seconds_is_obeyed(header: str, after: float | None) -> None:
    assert outcome(429, {}, retry_after=header).after == after
    assert outcome(503, {}, Retry_After=header).after == after


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("code", ["BadApiKey", "Success"])
def test_bad_key_is_nobodys_dead_letter(status: int, code: str) -> None:
    assert outcome(status, iterable_body(code, "Invalid")) == Unauthorized(reason=f"{status} {code}: Invalid")


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_other_refusals_are_final_with_code_and_message(status: int) -> None:
    assert outcome(status, iterable_body("BadParams", "no")) == Rejected(reason=f"{status} BadParams: no")


def test_reasons_are_cut() -> None:
    assert len(outcome(400, iterable_body("BadParams", "x" * 2000)).reason) == 500


def test_refusal_without_a_body_still_has_a_reason() -> None:
    assert outcome(400, b"\xff\xfe") == Rejected(reason="400 no code from Iterable in the answer")

"""Health and metrics over real HTTP."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import Engine, text

from tests.integration.api.serving import TOKEN, WRITE_KEY, serving

BEARER = {"authorization": f"Bearer {TOKEN}"}


def test_a_living_process_that_can_take_calls_says_so_to_anybody(anonymous: httpx.Client) -> None:
    live, ready = anonymous.get("/health/live"), anonymous.get("/health/ready")
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


def test_an_old_schema_is_not_ready(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with serving(engine) as served:
        answer = httpx.get(served.url + "/health/ready")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert "engage-sync migrate" in answer.json()["message"]
        assert httpx.get(served.url + "/health/live").status_code == 200


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {WRITE_KEY}", "Bearer \xff"]
)
def test_metrics_ask_for_the_operators_token(anonymous: httpx.Client, authorization: str) -> None:
    answer = anonymous.get("/metrics", headers={"authorization": authorization.encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


def test_metrics_count_what_came_and_what_waits(client: httpx.Client, engine: Engine) -> None:
    page = {"type": "page", "userId": "u1"}
    client.post("/v1/track", json={"userId": "u1", "event": "A"})
    client.post("/v1/batch", json={"batch": [page, page]})
    client.post("/v1/track", json={})
    client.post("/v1/track", json=page, auth=("wrong", ""))
    with engine.begin() as connection:
        connection.execute(
            text(
                """
                WITH definition AS (
                  INSERT INTO definitions (public_id, kind, key, version, enabled)
                  VALUES ('aud_1', 'audience', 'buyers', 1, true) RETURNING id
                ), destination AS (
                  INSERT INTO destinations (slug) VALUES ('iterable') RETURNING id
                ), message AS (
                  INSERT INTO messages (destination_id, profile_id, definition_id, definition_version, run_id,
                    identity_type, identity_value, call_type, value, told_version, as_of)
                  SELECT id, 1, 1, 1, 1, 'email', 'a@x.io', 'identify', 'true', 1, now() FROM destination
                )
                INSERT INTO computations (definition_id, as_of, members, computed_at)
                SELECT id, now(), 7, to_timestamp(1700000000) FROM definition
                """
            )
        )
    answer = client.get("/metrics", headers=BEARER, auth=httpx.Auth())
    assert answer.status_code == 200
    lines = answer.text.splitlines()
    for line in (
        'engage_sync_calls_accepted_total{source="web",type="track"} 1.0',
        'engage_sync_calls_accepted_total{source="web",type="page"} 2.0',
        'engage_sync_requests_refused_total{code="invalid_request"} 1.0',
        'engage_sync_requests_refused_total{code="unauthorized"} 1.0',
        "engage_sync_inbox_commit_calls_count 2.0",
        "engage_sync_inbox_commit_seconds_count 2.0",
        "engage_sync_database_up 1.0",
        "engage_sync_inbox_waiting 3.0",
        'engage_sync_outbox_waiting{destination="iterable"} 1.0',
        'engage_sync_dead_letters{destination="iterable"} 0.0',
        'engage_sync_definition_members{key="buyers",kind="audience"} 7.0',
        'engage_sync_definition_computed_timestamp_seconds{key="buyers",kind="audience"} 1.7e+09',
    ):
        assert line in lines
    assert WRITE_KEY not in answer.text


def test_metrics_are_shown_without_the_database_too(engine: Engine) -> None:
    with serving(engine) as served:
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE inbox"))
        answer = httpx.get(served.url + "/metrics", headers=BEARER)
        assert answer.status_code == 200
        assert "engage_sync_database_up 0.0" in answer.text.splitlines()


def test_an_unexpected_failure_is_a_500_without_a_trace(engine: Engine) -> None:
    with serving(engine) as served:

        async def fail(*_: object) -> None:
            raise RuntimeError("a secret inside")

        served.committer.submit = fail  # type: ignore[method-assign]
        answer = httpx.post(served.url + "/v1/track", json={"userId": "u1", "event": "A"}, auth=(WRITE_KEY, ""))
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text

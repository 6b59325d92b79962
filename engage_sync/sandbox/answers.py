"""The shape of Iterable's answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A refusal: HTTP status, Iterable's code, a sentence, and what is wrong where."""

    status: int
    code: str
    message: str
    params: dict[str, Any] | None = None

    def body(self) -> bytes:
        return orjson.dumps({"msg": self.message, "code": self.code, "params": self.params})


def success(message: str = "", params: dict[str, Any] | None = None) -> bytes:
    return orjson.dumps({"msg": message, "code": "Success", "params": params})


def bad_params(message: str, params: dict[str, Any] | None = None) -> Failure:
    return Failure(status=400, code="BadParams", message=message, params=params)


def conflict(code: str, message: str) -> Failure:
    return Failure(status=409, code=code, message=message)


def forgotten_user() -> Failure:
    return conflict("ForgottenUserError", "The user was forgotten, and takes no data any more")

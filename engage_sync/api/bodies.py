"""Reading a request's body within limits, before anything is made of it: length, encoding, time."""

from __future__ import annotations

import asyncio
import zlib

from starlette.types import Receive

from engage_sync import errors
from engage_sync.api.answers import RequestRefused

# A body that is too large is read on up to here and thrown away, as a client that still sends would not see the answer.
_DISCARDED_BYTES = 4_000_000
# The whole body; a client that drips bytes gives its place up.
_SECONDS_TO_SEND = 30.0
# What zlib calls a gzip header, and a zlib one.
_GZIP, _ZLIB = 31, 15


class Disconnected(Exception):
    """The client went away before its body was complete; nobody waits for an answer."""


async def read(receive: Receive, *, limit: int, declared: bytes | None, encoding: bytes) -> bytes:
    """The body, decoded.

    `declared` is the Content-Length header and `encoding` the Content-Encoding. Neither the body as sent nor the
    decoded one may be larger than `limit` bytes: errors.CallTooLarge. Raises errors.CallInvalid where it can't be
    decoded, RequestRefused for an unknown encoding or a body that takes too long, Disconnected.
    """
    message = await receive()
    if message["type"] != "http.request":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        try:
            async with asyncio.timeout(_SECONDS_TO_SEND):
                body = await _rest(receive, body, limit=limit, declared=declared)
        except TimeoutError:
            raise RequestRefused(408, "request_timeout", "The body took too long to arrive.", closes=True) from None
    if len(body) > limit:
        raise _too_large(limit)
    return _decode(body, encoding, limit) if encoding else body


async def _rest(receive: Receive, first: bytes, *, limit: int, declared: bytes | None) -> bytes:
    if declared is not None and declared.isdigit() and int(declared) > _DISCARDED_BYTES:
        raise _too_large_to_discard(limit)
    chunks, length, more = [first], len(first), True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        length += len(chunk)
        if length <= limit:
            chunks.append(chunk)
        elif length > _DISCARDED_BYTES:
            raise _too_large_to_discard(limit)
    if length > limit:
        raise _too_large(limit)
    return b"".join(chunks)


def _decode(body: bytes, encoding: bytes, limit: int) -> bytes:
    match encoding.strip().lower():
        case b"identity" | b"":
            return body
        case b"gzip" | b"x-gzip":
            return _inflate(body, _GZIP, limit)
        case b"deflate":
            return _inflate(body, _ZLIB, limit)
        case _:
            raise RequestRefused(415, "unsupported_encoding", "Content-Encoding: expected gzip, deflate or identity.")


def _inflate(body: bytes, header: int, limit: int) -> bytes:
    """At most one byte more than `limit` is ever unpacked, however little a bomb weighs."""
    inflated = b""
    while body:
        unpacker = zlib.decompressobj(header)
        try:
            inflated += unpacker.decompress(body, limit + 1 - len(inflated))
        except zlib.error:
            raise errors.CallInvalid("body: expected what Content-Encoding says it is") from None
        if len(inflated) > limit:
            raise _too_large(limit)
        if not unpacker.eof:
            raise errors.CallInvalid("body: its compressed form ends too early")
        # Members may follow each other; a padding of zeros after the last is commonly ignored.
        body = unpacker.unused_data.lstrip(b"\x00")
    return inflated


def _too_large(limit: int) -> errors.CallTooLarge:
    return errors.CallTooLarge(f"The body is larger than {limit} bytes.")


def _too_large_to_discard(limit: int) -> RequestRefused:
    failure = _too_large(limit)
    return RequestRefused(413, failure.code, str(failure), closes=True)

"""The headers of a webhook request, checked: the event's name, the delivery's id, the signature, the kind of body.

https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from hls_handler.web.refusal import Refused, not_verified

CONTENT_TYPE, CONTENT_LENGTH = b"content-type", b"content-length"
EVENT, DELIVERY, SIGNATURE = b"x-github-event", b"x-github-delivery", b"x-hub-signature-256"
READ = frozenset({CONTENT_TYPE, CONTENT_LENGTH, EVENT, DELIVERY, SIGNATURE})

_EVENT = re.compile(rb"[a-z][a-z0-9_]{0,63}")
_DELIVERY = re.compile(rb"[0-9A-Za-z-]{1,64}")
_SIGNATURE = re.compile(rb"sha256=[0-9a-f]{64}")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_LONGEST_TYPE = 256

JSON, FORM = b"application/json", b"application/x-www-form-urlencoded"


class Head(msgspec.Struct, frozen=True):
    event: str  # "issues"
    delivery: str  # GUID
    signature: bytes  # "sha256=" and 64 hexadecimal digits; b"" when signatures are not checked
    is_form: bool  # payload=..., else JSON
    content_length: int | None  # as declared; None for a chunked body


def parse_head(headers: Iterable[tuple[bytes, bytes]], *, signed: bool) -> Head:
    """Check the headers that we read, each at most once and each of the right shape; others are not looked at.

    `headers` is the ASGI list: names in lower case. Raises `Refused` (400, 401, 415).
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in READ:
            if name in found:
                raise _doubled(name)
            found[name] = value
    is_form = _is_form(found.get(CONTENT_TYPE, b""))
    length = found.get(CONTENT_LENGTH)
    if length is not None and not _LENGTH.fullmatch(length):
        raise Refused(400, "Content-Length must be a number of bytes")
    event = _matched(found, EVENT, _EVENT, "X-GitHub-Event must be the name of an event, such as issues")
    delivery = _matched(
        found, DELIVERY, _DELIVERY, "X-GitHub-Delivery must be an id of at most 64 letters, digits and hyphens"
    )
    signature = b""
    if signed:
        signature = found.get(SIGNATURE, b"")
        if not _SIGNATURE.fullmatch(signature):
            raise not_verified("X-Hub-Signature-256 is missing or misshapen")
    return Head(event, delivery, signature, is_form, int(length) if length is not None else None)


def _doubled(name: bytes) -> Refused:
    if name == SIGNATURE:
        return not_verified("X-Hub-Signature-256 came twice")
    return Refused(400, f"the header {name.decode('ascii')} came twice")


def _matched(found: Mapping[bytes, bytes], name: bytes, shape: re.Pattern[bytes], sentence: str) -> str:
    value = found.get(name, b"")
    if not shape.fullmatch(value):
        raise Refused(400, sentence)
    return value.decode("ascii")


def _is_form(content_type: bytes) -> bool:
    """Whether the body is a form rather than JSON; parameters such as charset are not looked at."""
    if content_type == JSON:
        return False
    if len(content_type) > _LONGEST_TYPE or not content_type.isascii():
        raise Refused(400, f"Content-Type must be ASCII of at most {_LONGEST_TYPE} characters")
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type not in (JSON, FORM):
        raise Refused(415, "Content-Type must be application/json or application/x-www-form-urlencoded")
    return media_type == FORM

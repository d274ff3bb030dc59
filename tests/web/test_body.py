"""The body of a webhook request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from hls_handler.errors import PayloadError
from hls_handler.web.body import payload_of_form, read_body, require_utf8
from hls_handler.web.refusal import Refused
from hls_handler.web.room import Room


class Wire:
    """Messages as a server would hand them on; counts how many were asked for. After the last it hangs."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.reads = 0

    async def receive(self) -> Message:
        self.reads += 1
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0)


def chunk(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def read(receive: Receive, *, declared: int | None = None, max_bytes: int = 10, timeout_s: float = 5.0) -> bytes:
    async def reading() -> bytes:
        with Room(lambda: 0.0).place(most_bytes=100) as place:
            return await read_body(receive, declared=declared, max_bytes=max_bytes, timeout_s=timeout_s, place=place)

    return asyncio.run(reading())


@pytest.mark.parametrize(
    "messages",
    [
        [chunk(b"0123456789", more=False)],
        [chunk(b"01234", more=True), chunk(b"56789", more=False)],
        [chunk(b"0123456789", more=True), chunk(b"", more=False)],
    ],
    ids=["one chunk", "two chunks", "empty end"],
)
def test_a_body_of_just_the_cap_is_read(messages: Sequence[Message]) -> None:
    assert read(Wire(*messages).receive, declared=10) == b"0123456789"


def test_rule_3_a_declared_length_over_the_cap_is_413_before_the_first_byte() -> None:
    wire = Wire(chunk(b"x", more=False))
    with pytest.raises(Refused) as refused:
        read(wire.receive, declared=11)
    assert (refused.value.status, wire.reads) == (413, 0)


def test_rule_3_bytes_are_counted_while_streaming_and_the_rest_is_not_read() -> None:
    wire = Wire(chunk(b"x" * 6, more=True), chunk(b"x" * 5, more=True), chunk(b"x" * 6, more=False))
    with pytest.raises(Refused) as refused:
        read(wire.receive)
    assert (refused.value.status, wire.reads) == (413, 2)


def test_rule_3_a_body_that_does_not_arrive_is_408() -> None:
    with pytest.raises(Refused) as refused:
        read(Wire(chunk(b"x", more=True)).receive, timeout_s=0.01)
    assert refused.value.status == 408
    assert refused.value.detail == "the body did not arrive within 0.01 s"


def test_a_sender_who_goes_away_is_no_refusal() -> None:
    with pytest.raises(ClientDisconnect):
        read(Wire(chunk(b"x", more=True), {"type": "http.disconnect"}).receive)


@pytest.mark.parametrize(
    ("form", "payload"),
    [
        (b"payload=%7B%22a%22%3A+%22%2B%C3%A9%22%7D", '{"a": "+é"}'.encode()),
        (b"x=1&payload=%7B%7D&y=2", b"{}"),
        (b"payload=", b""),
        (b"payload=%zz", b"%zz"),
    ],
    ids=["escapes", "other fields", "empty", "torn escape"],
)
def test_the_payload_of_a_form(form: bytes, payload: bytes) -> None:
    assert payload_of_form(form) == payload


@pytest.mark.parametrize("form", [b"", b"{}", b"Payload=%7B%7D", b"payload=1&payload=2"])
def test_a_form_without_exactly_one_payload_is_400(form: bytes) -> None:
    with pytest.raises(Refused) as refused:
        payload_of_form(form)
    assert refused.value.status == 400


@pytest.mark.parametrize("check", [lambda: require_utf8(b'{"title": "\xff"}'), lambda: require_utf8(b"\xc3")])
def test_bytes_that_are_not_utf8_are_not_json(check: Callable[[], None]) -> None:
    with pytest.raises(PayloadError, match="not UTF-8"):
        check()


def test_utf8_is_taken() -> None:
    require_utf8('{"title": "Übergröße"}'.encode())

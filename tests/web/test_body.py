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
from tests.web.fakes import FakeClock


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


def test_rule_3_a_body_that_comes_slowly_is_408_as_soon_as_others_need_its_room() -> None:
    clock = FakeClock()
    room = Room(clock)

    async def one(wire: Wire, began: asyncio.Event) -> bytes:
        with room.place(most_bytes=100) as place:
            began.set()
            return await read_body(wire.receive, declared=None, max_bytes=90, timeout_s=3600, place=place)

    async def both() -> tuple[bytes | BaseException, bytes | BaseException]:
        began = asyncio.Event()
        slow = asyncio.create_task(one(Wire(chunk(b"s" * 80, more=True)), began))
        await began.wait()
        clock.now += 1
        fast = one(Wire(chunk(b"f" * 30, more=True), chunk(b"f" * 40, more=False)), began)
        async with asyncio.timeout(5):
            return await asyncio.gather(slow, fast, return_exceptions=True)

    slow, fast = asyncio.run(both())
    assert isinstance(slow, Refused)
    assert (slow.status, slow.detail) == (
        408,
        "the body came too slowly for its size while others needed the room; send it again later",
    )
    assert fast == b"f" * 70
    assert room.used_bytes == 0


def test_rule_3_a_body_that_is_all_there_makes_no_room_until_it_is_answered() -> None:
    clock = FakeClock()
    room = Room(clock)
    told: list[str] = []

    async def story() -> None:
        with room.place(most_bytes=100) as large, room.place(most_bytes=100) as small:
            wire = Wire(chunk(b"l" * 90, more=False))
            await read_body(wire.receive, declared=None, max_bytes=90, timeout_s=5, place=large)
            large.give_up = lambda: told.append("large")
            clock.now += 1
            wire = Wire(chunk(b"s" * 20, more=True), chunk(b"", more=False))
            reading = asyncio.create_task(
                read_body(wire.receive, declared=None, max_bytes=90, timeout_s=5, place=small)
            )
            for _ in range(5):
                await asyncio.sleep(0)
            assert not reading.done()
            large.__exit__(None, None, None)
            assert await reading == b"s" * 20

    asyncio.run(story())
    assert told == []


def test_rule_3_a_body_that_is_all_there_waits_for_room_no_longer_than_its_deadline() -> None:
    room = Room(FakeClock())

    async def story() -> bytes:
        with room.place(most_bytes=100) as large, room.place(most_bytes=100) as small:
            await large.grow(90)
            large.complete()
            wire = Wire(chunk(b"s" * 20, more=False))
            return await read_body(wire.receive, declared=20, max_bytes=90, timeout_s=0.01, place=small, is_whole=True)

    with pytest.raises(Refused) as refused:
        asyncio.run(story())
    assert refused.value.status == 408


def test_a_body_that_is_all_there_is_read_without_a_deadline() -> None:
    async def story() -> bytes:
        with Room(FakeClock()).place(most_bytes=100) as place:
            wire = Wire(chunk(b"s" * 20, more=False))
            return await read_body(wire.receive, declared=20, max_bytes=90, timeout_s=-1, place=place, is_whole=True)

    assert asyncio.run(story()) == b"s" * 20


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

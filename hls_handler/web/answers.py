"""What the service answers: a status and JSON, sent without detours on the webhook's path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from starlette.types import Send

from hls_handler.web.request_ids import answer_headers

JSON_TYPE = (b"content-type", b"application/json")
CLOSE = (b"connection", b"close")

DEFECT = "internal error; see the log under this request id"

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content: Mapping[str, object]
    headers: Headers = ()

    async def send(self, send: Send, request_id: str) -> None:
        body = msgspec.json.encode(self.content)
        length = (b"content-length", str(len(body)).encode("ascii"))
        headers = [JSON_TYPE, length, *self.headers, *answer_headers(request_id)]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def detail(status: int, sentence: str, *headers: tuple[bytes, bytes]) -> Answer:
    """`{"detail": sentence}`."""
    return Answer(status, {"detail": sentence}, headers)

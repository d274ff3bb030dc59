"""Requests that nobody sends in good faith: known tricks, and what hypothesis makes of them.

Hostile is what GitHub cannot send: it is no HTTP, or its headers are not a webhook's, or its signature is not made
with the secret; or it is, and the body is no JSON or not of GitHub's shape. Each has to be answered 4xx, or not at all
where no whole request is there, and must leave nothing behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from hypothesis import strategies as some

from tests.web.fakes import Headers, headers, signature

NAMES = [
    b"content-type",
    b"content-length",
    b"x-github-event",
    b"x-github-delivery",
    b"x-hub-signature-256",
    b"x-request-id",
    b"x-api-key",
    b"transfer-encoding",
    b"expect",
]
values = some.one_of(
    some.binary(max_size=100),
    some.sampled_from([b"application/json", b"issues", b"ping", b"sha256=" + b"0" * 64, b"9" * 30, b"a" * 10_000]),
)
hostile_headers = some.lists(some.tuples(some.sampled_from(NAMES), values), max_size=12)
json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
shaped = some.fixed_dictionaries(
    {},
    optional={
        "action": json_values,
        "repository": some.fixed_dictionaries({"id": json_values, "full_name": json_values}) | json_values,
        "sender": some.fixed_dictionaries({"login": json_values}) | json_values,
        "installation": some.fixed_dictionaries({"id": some.integers()}) | json_values,
        "issue": some.fixed_dictionaries({"number": some.integers()}) | json_values,
        "pull_request": some.fixed_dictionaries({"number": some.integers(), "head": json_values}) | json_values,
        "changes": json_values,
    },
)


@dataclass(frozen=True)
class Hostile:
    """What goes over one connection."""

    sent: bytes
    requests: int = 1  # so many answers; of what is torn, one at most
    whole: bool = True  # an answer must come


GOOD: dict[str, Any] = {
    "action": "opened",
    "repository": {"id": 186853002, "full_name": "Codertocat/Hello-World"},
    "sender": {"login": "Codertocat", "type": "User"},
    "installation": {"id": 5},
    "issue": {
        "number": 1,
        "title": "Spelling error",
        "body": "It reads recieve",
        "state": "open",
        "locked": False,
        "author_association": "OWNER",
        "html_url": "https://github.com/Codertocat/Hello-World/issues/1",
        "labels": [{"name": "bug"}],
        "user": {"login": "Codertocat", "type": "User", "id": 21031067},
    },
}
"""A body that would be taken."""

NO_TEXT: Sequence[object] = (1, -1.5, True, [], {}, ["a"], {"a": 1}, 10**40)
NO_WHOLE_NUMBER: Sequence[object] = ("1", 1.5, True, [], {}, None, "a", [1], 1e300)
NO_OBJECT: Sequence[object] = (1, "a", True, [], 1.5, [{}])
ODD_NAMES: Sequence[object] = ("a" * 256, "a\nb", "a\0b", "a\u202eb", "\x1b[31m", "a\x7f")

OF_A_WRONG_TYPE: Sequence[tuple[str, Sequence[object]]] = (
    ("action", (*NO_TEXT, *ODD_NAMES)),
    ("repository", NO_OBJECT),
    ("repository.id", (*NO_WHOLE_NUMBER, -1, 2**63, 10**40)),
    (
        "repository.full_name",
        (*NO_TEXT, *ODD_NAMES, "a", "a/b/c", "a b/c", "../..", "./a", "a/..", "a/b?c", "é/é", " a/b"),
    ),
    ("sender", NO_OBJECT),
    ("sender.login", (*NO_TEXT, *ODD_NAMES)),
    ("sender.type", NO_TEXT),
    ("installation", NO_OBJECT),
    ("installation.id", (*NO_WHOLE_NUMBER, -1, 2**63)),
    ("issue", (*NO_OBJECT, None, {})),
    ("issue.number", (*NO_WHOLE_NUMBER, 0, -1, 2**31, 10**40)),
    ("issue.title", NO_TEXT),
    ("issue.body", NO_TEXT),
    ("issue.state", (*NO_TEXT, "ajar", None)),
    ("issue.locked", (0, 1, "false", None, [], {})),
    ("issue.author_association", (*NO_TEXT, None)),
    ("issue.html_url", (*NO_TEXT, None)),
    ("issue.labels", (1, "bug", True, {}, [1], ["bug"], [{"name": 1}], [None])),
    ("issue.user", NO_OBJECT),
    ("issue.user.id", NO_WHOLE_NUMBER),
    ("issue.user.login", (*NO_TEXT, None)),
    ("issue.pull_request", NO_OBJECT),
    ("pull_request", (*NO_OBJECT, {}, {"number": "1"}, {"number": 1, "head": {"sha": 1}}, {"number": 0})),
    ("review", (*NO_OBJECT, {"body": 1}, {"user": {"login": 1}})),
    ("comment", (*NO_OBJECT, {}, {"id": "1"}, {"id": 1, "created_at": "yesterday"}, {"id": 1, "body": []})),
    ("workflow_run", (*NO_OBJECT, {}, {"id": 1, "workflow_id": 1}, {"id": 1, "workflow_id": 1, "head_sha": 1})),
    ("release", (*NO_OBJECT, {}, {"id": 1}, {"id": 1, "tag_name": None})),
    ("requested_reviewer", NO_OBJECT),
    ("label", NO_OBJECT),
    ("changes", NO_OBJECT),
)


def _with(path: str, value: object) -> bytes:
    """The good body with one field replaced."""
    top: dict[str, Any] = json.loads(json.dumps(GOOD))
    *above, name = path.split(".")
    inner = top
    for step in above:
        inner = inner[step]
    inner[name] = value
    return json.dumps(top).encode()


_GOOD = json.dumps(GOOD).encode()

NO_JSON: Sequence[bytes] = (
    b"",
    b" ",
    b"null",
    b"true",
    b"7",
    b'"text"',
    b"[]",
    b"[" + _GOOD + b"]",
    _GOOD[:-1],
    _GOOD[:100],
    _GOOD + b"}",
    _GOOD + _GOOD,
    _GOOD + b"\0",
    b"\0" + _GOOD,
    b"\xef\xbb\xbf" + _GOOD,
    _GOOD.decode().encode("utf-16"),
    _GOOD.decode().encode("utf-32"),
    _GOOD.replace(b"opened", b"open\xffed"),
    _GOOD.replace(b"recieve", b"\xc0\xaf"),
    _GOOD.replace(b"recieve", b"\xed\xa0\x80"),
    _GOOD.replace(b"recieve", b"\\ud800"),
    _GOOD.replace(b"recieve", b"\\udc00\\ud800"),
    _GOOD.replace(b"recieve", b"\\x41"),
    _GOOD.replace(b"recieve", b"\n"),
    _GOOD.replace(b"recieve", b"\0"),
    _GOOD.replace(b'"', b"'"),
    _GOOD.replace(b"}", b",}"),
    _GOOD.replace(b"{", b"{/* */", 1),
    _GOOD.replace(b"186853002", b"NaN"),
    _GOOD.replace(b"186853002", b"Infinity"),
    _GOOD.replace(b"186853002", b"0186853002"),
    _GOOD.replace(b"186853002", b"0x10"),
    _GOOD.replace(b"186853002", b"1e999"),
    _GOOD.replace(b"186853002", b"-"),
    _GOOD.replace(b"186853002", b"9" * 5_000),
    _GOOD.replace(b"186853002", b"1" + b"0" * 100_000),
    b'{"action":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"deep":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b'{"issue":{"number":1},"issue":{"number":"1"}}',
    b'{"issue":{"number":"1"},"issue":{"number":1}}',
    b'{"action":"opened","action":{},' + _GOOD[1:],
    b'{"repository":{"id":1,"full_name":"../.."},' + _GOOD[1:].replace(b"repository", b"repo"),
    b"<xml/>",
    b"payload=" + quote_plus(_GOOD).encode(),
    b"\x1f\x8b\x08\x00" + b"\0" * 20,
    b"%7B%7D",
)

NO_FORM: Sequence[bytes] = (
    b"",
    b"payload",
    b"payload=",
    b"payload=null",
    b"payload=%7B",
    b"payload=%zz",
    b"payload=%",
    b"payload=%00",
    b"payload=%ff%fe",
    b"payload=%u007b%u007d",
    b"payload=%257B%257D",
    b"payload=1&payload=2",
    b"payload=" + quote_plus(_GOOD).encode() + b"&payload=" + quote_plus(_GOOD).encode(),
    b"payload=" + quote_plus(_GOOD).encode() + b"%00",
    b"payload=" + quote_plus(_GOOD[:-1]).encode(),
    b"Payload=" + quote_plus(_GOOD).encode(),
    b"payload[]=" + quote_plus(_GOOD).encode(),
    b"pay%6coad=" + quote_plus(_GOOD).encode(),
    b"x=1;payload=" + quote_plus(_GOOD).encode(),
    b"&" * 50_000,
    b"payload=" + b"%41" * 50_000,
    b"payload=" + b"+" * 50_000,
    _GOOD,
)


def request(lines: Sequence[tuple[bytes, bytes]], body: bytes = b"", start: bytes = b"POST /webhook HTTP/1.1") -> bytes:
    """With its length; lines come as they are."""
    counted = (*lines, (b"Content-Length", b"%d" % len(body)))
    return start + b"\r\nHost: hls\r\n" + b"".join(b"%b: %b\r\n" % line for line in counted) + b"\r\n" + body


def signed(body: bytes, secret: str, event: str = "issues", content_type: str = "application/json") -> bytes:
    return request(headers(body, event=event, secret=secret, content_type=content_type), body)


def of_wrong_shape(secret: str) -> Iterator[Hostile]:
    """Signed with the secret, and not of GitHub's shape."""
    for path, wrong in OF_A_WRONG_TYPE:
        yield from (Hostile(signed(_with(path, value), secret)) for value in wrong)
    yield from (Hostile(signed(body, secret)) for body in NO_JSON)
    yield from (Hostile(signed(body, secret, event="ping")) for body in NO_JSON)
    yield from (Hostile(signed(body, secret, content_type="application/x-www-form-urlencoded")) for body in NO_FORM)
    yield Hostile(signed(b'{"__proto__":{"issue":{"number":1}},"constructor":{"prototype":{}}}', secret))
    for event in ("pull_request", "pull_request_review", "workflow_run", "release", "issue_comment"):
        yield Hostile(signed(_GOOD, secret, event=event))
    for event in ("", "Issues", "issues ", "1issues", "issues,push", "issues\0", "a" * 65, "../issues", "é"):
        yield Hostile(signed(_GOOD, secret, event=event))


def not_signed(secret: str) -> Iterator[Hostile]:
    """A good body that proves nothing."""
    good = signature(_GOOD, secret)
    digest = good.removeprefix(b"sha256=")
    for wrong in (
        None,
        b"",
        digest,
        b"sha1=" + digest[:40],
        b"sha256=" + digest.upper(),
        b"SHA256=" + digest,
        b"sha256=" + digest[:-1],
        b"sha256=" + digest + b"0",
        b"sha256=" + digest + b"\x0b",
        b"sha256=" + b"0" * 64,
        b"sha256=" + b"\xff" * 64,
        b"sha256=" + digest[:-1] + b"\xc3\xa9",
        good + b", " + good,
        signature(_GOOD, ""),
        signature(_GOOD, secret + " "),
        signature(_GOOD + b"\n", secret),
        signature(b"", secret),
        b"sha256=" + b"0" * 40_000,
    ):
        yield Hostile(request(headers(_GOOD, secret=secret, x_hub_signature_256=wrong), _GOOD))
    for named in (b"X-Hub-Signature", b"X_Hub_Signature_256", b"X-Hub-Signature-256\t"):
        yield Hostile(request([*headers(_GOOD, secret=secret, x_hub_signature_256=None), (named, good)], _GOOD))
    for id_ in ("", " ", "a b", "a" * 65, "../../etc/passwd", "é", "a;b", "%00", "'--", "a\0"):
        yield Hostile(request(headers(_GOOD, secret=secret, x_github_delivery=id_), _GOOD))
    for type_ in (
        None,
        "",
        "text/plain",
        "application/jsonp",
        "multipart/form-data; boundary=a",
        "é",
        "a" * 300,
        "*/*",
    ):
        yield Hostile(request(headers(_GOOD, secret=secret, content_type=type_), _GOOD))
    for doubled in (b"X-GitHub-Event", b"X-GitHub-Delivery", b"X-Hub-Signature-256", b"Content-Type"):
        yield Hostile(request([*headers(_GOOD, secret=secret), (doubled, b"a")], _GOOD))
        yield Hostile(request([(doubled.upper(), b""), *headers(_GOOD, secret=secret)], _GOOD))


_HEAD = (
    b"POST /webhook HTTP/1.1\r\nHost: hls\r\nContent-Type: application/json\r\nX-GitHub-Event: issues\r\n"
    b"X-GitHub-Delivery: trick\r\nX-Hub-Signature-256: sha256=" + b"0" * 64 + b"\r\n"
)
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n"

FRAMING: Sequence[bytes] = (
    # two lengths, or a length and chunks: who stands before us might see another request's end
    _HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    _HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    _HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
    _HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    _CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    _HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    _HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    _HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    _HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    _HEAD + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    _HEAD + b"X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _HEAD + b"X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _HEAD + b"X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _HEAD + b"Content-Length: +2\r\n\r\n{}",
    _HEAD + b"Content-Length: -2\r\n\r\n{}",
    _HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    _HEAD + b"Content-Length: 2.0\r\n\r\n{}",
    _HEAD + b"Content-Length: 2 2\r\n\r\n{}",
    _HEAD + b"Content-Length: \r\n\r\n{}",
    _HEAD + b"Content-Length: two\r\n\r\n{}",
    _HEAD + b"Content-Length: \xb2\r\n\r\n{}",
    _HEAD + b"Content-Length: 18446744073709551618\r\n\r\n{}",
    _HEAD + b"Content-Length: 99999999999999999999999999\r\n\r\n{}",
    _HEAD + b"Content-Length: 25000001\r\n\r\n{}",
    # chunks
    _CHUNKED + b"\r\nzz\r\n",
    _CHUNKED + b"\r\n-1\r\n",
    _CHUNKED + b"\r\n+1\r\na\r\n0\r\n\r\n",
    _CHUNKED + b"\r\n0x1\r\na\r\n0\r\n\r\n",
    _CHUNKED + b"\r\n1 \r\na\r\n0\r\n\r\n",
    _CHUNKED + b"\r\n\r\n\r\n",
    _CHUNKED + b"\r\n1\r\nab\r\n0\r\n\r\n",
    _CHUNKED + b"\r\n1\na\n0\n\n",
    _CHUNKED + b"\r\nffffffffffffffff\r\na",
    _CHUNKED + b"\r\nfffffffffffffffff\r\na",
    _CHUNKED + b"\r\n1;" + b"e" * 70_000,
    _CHUNKED + b"\r\n0\r\n" + b"a: b\r\n" * 20_000,
    _CHUNKED + b"\r\n0\r\nX-Hub-Signature-256: sha256=" + b"1" * 64 + b"\r\n\r\n",
    _CHUNKED + b"\r\n0\r\nContent-Length: 5\r\n\r\n",
)

STARTS: Sequence[bytes] = (
    b"POST /webhook HTTP/2.0",
    b"POST /webhook HTTP/9.9",
    b"POST /webhook HTTP/1.10",
    b"POST /webhook HTTP/01.1",
    b"POST /webhook http/1.1",
    b"POST /webhook HTTPS/1.1",
    b"POST /webhook ICE/1.0",
    b"POST  /webhook HTTP/1.1",
    b"POST\t/webhook\tHTTP/1.1",
    b" POST /webhook HTTP/1.1",
    b"post /webhook HTTP/1.1",
    b"POST /webhook  HTTP/1.1",
    b"POST /web hook HTTP/1.1",
    b"POST webhook HTTP/1.1",
    b"POST  HTTP/1.1",
    b"POST / HTTP/1.1",
    b"POST // HTTP/1.1",
    b"POST /webhook/ HTTP/1.1",
    b"POST //webhook HTTP/1.1",
    b"POST /webhook/../stats HTTP/1.1",
    b"POST /webhook%00 HTTP/1.1",
    b"POST /webhook%2f HTTP/1.1",
    b"POST /%2e%2e/%2e%2e/etc/passwd HTTP/1.1",
    b"POST /%ff%fe HTTP/1.1",
    b"POST /%zz HTTP/1.1",
    b"POST /% HTTP/1.1",
    b"POST /\xff HTTP/1.1",
    b"POST /\x00 HTTP/1.1",
    b"POST /webhook#a HTTP/1.1",
    b"POST /webhook\\ HTTP/1.1",
    b"POST http://hls HTTP/1.1",
    b"POST http:// HTTP/1.1",
    b"POST http://hls/webhook HTTP/1.1",
    b"POST http://hls:99999/webhook HTTP/1.1",
    b"POST http://a@b@c/webhook HTTP/1.1",
    b"POST http://[::1/webhook HTTP/1.1",
    b"POST http://[::1]/webhook HTTP/1.1",
    b"POST hls:443 HTTP/1.1",
    b"POST * HTTP/1.1",
    b"POST ftp://hls/webhook HTTP/1.1",
    b"POST javascript:alert(1) HTTP/1.1",
    b"POST ?a=b HTTP/1.1",
    b"POST /webhook?" + b"a" * 60_000 + b" HTTP/1.1",
    b"POST /" + b"a" * 60_000 + b" HTTP/1.1",
    b"POST /" + b"../" * 10_000 + b" HTTP/1.1",
    b"POST /" + b"%41" * 10_000 + b" HTTP/1.1",
    b"CONNECT hls:443 HTTP/1.1",
    b"CONNECT /webhook HTTP/1.1",
    b"CONNECT hls HTTP/1.1",
    b"CONNECT [ HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"OPTIONS /webhook HTTP/1.1",
    b"TRACE /webhook HTTP/1.1",
    b"PUT /webhook HTTP/1.1",
    b"DELETE /webhook HTTP/1.1",
    b"PATCH /webhook HTTP/1.1",
    b"HEAD /webhook HTTP/1.1",
    b"GET /webhook HTTP/1.1",
    b"GET /webhook HTTP/1.0",
    b"GET /stats HTTP/1.1",
    b"GET /stats?api_key=a HTTP/1.1",
    b"POST /stats HTTP/1.1",
    b"POST /health HTTP/1.1",
    b"DELETE /health HTTP/1.1",
    b"PROPFIND / HTTP/1.1",
    b"M-SEARCH * HTTP/1.1",
    b"SOURCE /webhook ICE/1.0",
    b"DESCRIBE rtsp://hls/webhook RTSP/1.0",
    b"PRI * HTTP/2.0",
    b"PRI /webhook HTTP/1.1",
    b"QUERY /webhook HTTP/1.1",
    b"BREW /pot HTTP/1.1",
    b"\x00 /webhook HTTP/1.1",
    b"GET",
    b"GET /webhook",
    b"\xef\xbb\xbfGET / HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x80\x2e\x01\x00\x02",
    b"SSH-2.0-OpenSSH_9.9",
    b"*1",
    b"EHLO hls",
    b"HTTP/1.1 200 OK",
)

LINES: Sequence[bytes] = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    b"Connection: close, keep-alive, upgrade\r\nUpgrade: \xff",
    b"Expect: 100-continue",
    b"Expect: 200-ok",
    b"Expect: 100-continue\r\nExpect: 100-continue",
    b"Host: other",
    b"Host: \xff",
    b"a" * 60_000 + b": b",
    b"a: " + b"b" * 60_000,
    b"a: " + b"b" * 70_000,
    b"\r\n".join(b"a: b" for _ in range(99)),
    b"\r\n".join(b"a: b" for _ in range(9_000)),
    b"\r\n".join(b"a:" for _ in range(16_000)),
    b": empty",
    b"a b: c",
    b"a\0: b",
    b"a: b\0c",
    b"a: b\x01c",
    b"a: b\x7f",
    b"\xff: a",
    b"a\xc3\xa9: b",
    b"a: \xff\xfe",
    b"no colon",
    b" folded: a",
    b"a: b\r\n\tfolded",
    b"a: b\rc: d",
    b"a: b\nc: d",
    b"a(b): c",
    b"X-Request-ID: a\r\nX-Request-ID: b",
    b"X-Request-ID: " + b"a" * 10_000,
    b"X-Request-ID: \xff\r\nX-API-Key: \xff",
    b"X-API-Key: " + b"k" * 10_000,
    b"Content-Encoding: gzip",
    b"Content-Encoding: br, gzip, gzip",
    b"X-HTTP-Method-Override: GET",
    b"X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1",
    b"Range: bytes=0-,0-,0-,0-",
    b"Transfer-Encoding:",
    b"Cookie: " + b"a=b; " * 5_000,
    b"Proxy: http://evil\r\nProxy-Connection: keep-alive",
)

TORN: Sequence[bytes] = (
    b"\0",
    b"\r\n\r\n\r\n",
    b"GET /\r\n",
    b"GET / HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    _HEAD,
    _HEAD + b"Content-Length: 10\r\n\r\n{}",
    _HEAD + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
    _CHUNKED + b"\r\n5\r\nab",
    _CHUNKED + b"\r\n0\r\n",
)


def tricks() -> Iterator[Hostile]:
    """What has been tried on other servers; none of it is signed."""
    yield from (Hostile(sent) for sent in FRAMING)
    for start in STARTS:
        whole = start.count(b" ") == 2 or start.startswith((b"POST", b"\x16", b"HTTP"))
        yield Hostile(_HEAD.replace(b"POST /webhook HTTP/1.1", start) + b"Content-Length: 2\r\n\r\n{}", whole=whole)
    yield from (Hostile(_HEAD + line + b"\r\nContent-Length: 2\r\n\r\n{}") for line in LINES)
    yield from (Hostile(sent, whole=False) for sent in TORN)
    refused = _HEAD + b"Content-Length: 2\r\n\r\n{}"
    yield Hostile(refused * 50, requests=50)
    yield Hostile(refused * 5_000, whole=False)
    yield Hostile(refused + b"GARBAGE\r\n\r\n")
    yield Hostile(refused.replace(b"1.1", b"1.0") + refused)
    yield Hostile(refused.replace(b"Host: hls", b"Connection: close") + refused)
    yield Hostile(_HEAD + b"Content-Length: 2\r\n\r\n{}GET /admin HTTP/1.1\r\nX: " + refused, requests=1)


@some.composite
def mutated(draw: some.DrawFn, of: Sequence[bytes]) -> Hostile:
    """A trick with some of its first bytes replaced, doubled, taken away, or others put between."""
    sent = bytearray(draw(some.sampled_from(of)))
    for _ in range(draw(some.integers(1, 4))):
        at = draw(some.integers(0, min(len(sent), 400)))
        gone = draw(some.sampled_from((0, 0, 1, 1, 2, 10)))
        sent[at : at + gone] = draw(
            some.sampled_from((b"", b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b":", b"\xff", b"%", b"/", b"0"))
            | some.binary(max_size=8)
        )
    return Hostile(bytes(sent), whole=False)


@some.composite
def strangers(draw: some.DrawFn) -> Hostile:
    """Any headers, any body."""
    sent: Headers = draw(hostile_headers)
    path = draw(some.sampled_from((b"/webhook", b"/webhook", b"/stats", b"/", b"/%00")))
    body = draw(some.binary(max_size=300))
    return Hostile(request(sent, body, start=b"POST " + path + b" HTTP/1.1"), whole=False)


@some.composite
def signed_nonsense(draw: some.DrawFn, secret: str) -> Hostile:
    """Several in a row over one connection: bytes that are no JSON, or any JSON with one field of a wrong type."""

    def body() -> bytes:
        if draw(some.booleans()):
            return draw(some.binary(max_size=200)) + b"\xff"
        fields: dict[str, Any] = draw(shaped)
        path, wrong = draw(some.sampled_from([one for one in OF_A_WRONG_TYPE if "." not in one[0]]))
        there = [value for value in wrong if value is not None]  # no issue at all suits other events
        return json.dumps({**fields, path: draw(some.sampled_from(there))}).encode()

    event = draw(some.sampled_from(("issues", "pull_request", "ping", "star", "push")))
    bodies = [body() for _ in range(draw(some.integers(1, 10)))]
    return Hostile(b"".join(signed(one, secret, event=event) for one in bodies), requests=len(bodies))

"""Fake GitHub server on loopback: one repository with issues, labels and comments, with configurable failures.

It behaves like GitHub in everything that the clients depend on: status, message, headers, paging, case of labels.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from tests.clients.fake_network import HOST, Quiet, Server

TOKEN = "ghp_secretsecretsecretsecret"
HLS = {"login": "hls-bot", "id": 9001, "type": "User"}
MALLORY = {"login": "mallory", "id": 13, "type": "User"}

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass(frozen=True)
class Fault:
    """Failure of the next matching request. With `after`, the request takes effect first."""

    verb: str
    path: str  # a regular expression
    kind: Literal["answer", "drop", "hang"] = "answer"
    status: int = 502
    body: Any = field(default_factory=lambda: {"message": "Server Error"})
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False


@dataclass(frozen=True)
class Seen:
    verb: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]

    @property
    def call(self) -> str:
        return f"{self.verb} {self.path}"


class FakeGithub:
    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.events: list[str] = []  # the events in the timeline of the issue
        self.faults: list[Fault] = []
        self.connections = 0
        self.links = True  # True if lists have a Link header
        self.headers: dict[str, str] = {}  # of every response
        self.labels: dict[str, dict[str, str]] = {}  # of the repository, by case-folded name
        self.issue_labels: list[str] = []  # labels of issue 7
        self.comments: list[dict[str, Any]] = []
        self.reactions: list[tuple[int, str]] = []
        self.documents: dict[str, Any] = {  # by path; lists are returned in pages
            "/user": dict(HLS),
            "/repos/o/r": {},
            "/repos/o/r/issues/7": {},
        }
        self.most_files_with_patches = 100  # of a page; larger pages lack patches
        self.log = b""  # of job 6
        self._released = threading.Event()
        self._server = Server((HOST, 0), self._handler()).__enter__()

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self._server.port}/api"

    @property
    def calls(self) -> list[str]:
        return [seen.call for seen in self.seen]

    def close(self) -> None:
        self._released.set()
        self._server.__exit__()

    def add_label(self, name: str) -> None:
        self.labels[name.casefold()] = {"name": name, "color": "ededed", "description": ""}

    def add_comment(self, user: dict[str, Any], body: str) -> int:
        number = 1000 + len(self.comments)
        url = f"https://github.com/o/r/issues/7#issuecomment-{number}"
        self.comments.append({"id": number, "user": user, "body": body, "html_url": url})
        self.events.append("commented")
        return number

    def bodies(self) -> list[str]:
        return [comment["body"] for comment in self.comments]

    # --- routes ------------------------------------------------------------------------------------------------------

    def answer(self, seen: Seen) -> Answer:
        routes: list[tuple[str, str, Callable[..., Answer]]] = [
            ("GET", r"/repos/o/r/actions/jobs/6/logs", self._log),
            ("GET", r"/stored/6", lambda s: (200, self.log)),
            ("GET", r"/repos/o/r/issues/7/labels", lambda s: self._page(s, [{"name": n} for n in self.issue_labels])),
            ("POST", r"/repos/o/r/issues/7/labels", self._put_on),
            ("DELETE", r"/repos/o/r/issues/7/labels/([^/]+)", self._take_off),
            ("GET", r"/repos/o/r/labels", lambda s: self._page(s, list(self.labels.values()))),
            ("POST", r"/repos/o/r/labels", self._create_label),
            ("GET", r"/repos/o/r/labels/([^/]+)", self._label),
            ("GET", r"/repos/o/r/issues/7/comments", lambda s: self._page(s, self.comments)),
            ("POST", r"/repos/o/r/issues/7/comments", self._comment),
            ("GET", r"/repos/o/r/issues/comments/(\d+)", self._one_comment),
            ("PATCH", r"/repos/o/r/issues/comments/(\d+)", self._edit),
            ("POST", r"/repos/o/r/(?:issues|pulls)/comments/(\d+)/reactions", self._react),
        ]
        document = self.documents.get(seen.path) if seen.verb == "GET" else None
        if document is not None:
            return self._page(seen, document) if isinstance(document, list) else (200, document)
        for verb, pattern, route in routes:
            match = re.fullmatch(pattern, seen.path)
            if match and verb == seen.verb:
                return route(seen, *map(unquote, match.groups()))
        return 404, {"message": "Not Found"}

    def _page(self, seen: Seen, items: list[Any]) -> Answer:
        size, number = int(seen.query.get("per_page", 30)), int(seen.query.get("page", 1))
        shown = items[(number - 1) * size : number * size]
        if size > self.most_files_with_patches:
            shown = [{key: value for key, value in file.items() if key != "patch"} for file in shown]
        if not self.links or len(items) <= size:
            return 200, shown
        more, last = "", -(-len(items) // size)
        if number < last:
            more = "".join(
                f'<{self.base_url}{seen.path}?per_page={size}&page={page}>; rel="{name}", '
                for name, page in (("next", number + 1), ("last", last))
            )
        return 200, shown, {"Link": f'{more}<{self.base_url}{seen.path}?page=1>; rel="first"'}

    def _log(self, seen: Seen) -> Answer:
        return 302, None, {"Location": f"{self.base_url}/stored/6?signature=5ecret"}

    def _put_on(self, seen: Seen) -> Answer:
        for name in seen.body["labels"]:
            if name.casefold() not in self.labels:
                self.add_label(name)
            shown = self.labels[name.casefold()]["name"]
            if shown not in self.issue_labels:
                self.issue_labels.append(shown)
                self.events.append(f"labeled {shown}")
        return 200, [{"name": name} for name in self.issue_labels]

    def _take_off(self, seen: Seen, name: str) -> Answer:
        found = [shown for shown in self.issue_labels if shown.casefold() == name.casefold()]
        if not found:
            return 404, {"message": "Label does not exist"}
        self.issue_labels.remove(found[0])
        self.events.append(f"unlabeled {found[0]}")
        return 200, [{"name": name} for name in self.issue_labels]

    def _create_label(self, seen: Seen) -> Answer:
        if seen.body["name"].casefold() in self.labels:
            errors = [{"resource": "Label", "code": "already_exists", "field": "name"}]
            return 422, {"message": "Validation Failed", "errors": errors}
        if "," in seen.body["name"]:
            return 422, {
                "message": "Validation Failed",
                "errors": [{"resource": "Label", "code": "invalid", "field": "name"}],
            }
        self.labels[seen.body["name"].casefold()] = seen.body
        return 201, seen.body

    def _label(self, seen: Seen, name: str) -> Answer:
        found = self.labels.get(name.casefold())
        return (200, found) if found else (404, {"message": "Not Found"})

    def _comment(self, seen: Seen) -> Answer:
        self.add_comment(HLS, seen.body["body"])
        return 201, self.comments[-1]

    def _react(self, seen: Seen, number: str) -> Answer:
        if not any(comment["id"] == int(number) for comment in self.comments):
            return 404, {"message": "Not Found"}
        reaction = (int(number), seen.body["content"])
        if reaction in self.reactions:
            return 200, {"id": 1, "content": reaction[1]}
        self.reactions.append(reaction)
        return 201, {"id": 1, "content": reaction[1]}

    def _one_comment(self, seen: Seen, number: str) -> Answer:
        found = [comment for comment in self.comments if comment["id"] == int(number)]
        return (200, found[0]) if found else (404, {"message": "Not Found"})

    def _edit(self, seen: Seen, number: str) -> Answer:
        found = [comment for comment in self.comments if comment["id"] == int(number)]
        if not found:
            return 404, {"message": "Not Found"}
        found[0]["body"] = seen.body["body"]
        self.events.append("edited")
        return 200, found[0]

    # --- the server --------------------------------------------------------------------------------------------------

    def take_fault(self, seen: Seen) -> Fault | None:
        for fault in self.faults:
            if fault.verb == seen.verb and re.fullmatch(fault.path, seen.path):
                self.faults.remove(fault)
                return fault
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(Quiet):
            def setup(self) -> None:
                super().setup()
                fake.connections += 1

            def serve(self) -> None:
                place = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                sent = self.rfile.read(length)
                if len(sent) < length:
                    return None  # incomplete request: GitHub ignores it too
                body = json.loads(sent) if length else None
                query = {name: values[0] for name, values in parse_qs(place.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen = Seen(self.command, place.path.removeprefix("/api"), query, body, headers)
                fake.seen.append(seen)
                fault = fake.take_fault(seen)
                stored = seen.path.startswith("/stored/")  # needs no token
                if not stored and headers.get("authorization") != f"token {TOKEN}":
                    return self.reply(401, {"message": "Bad credentials"}, {})
                if fault is None or fault.after:
                    answer = fake.answer(seen)
                    if fault is None:
                        return self.reply(answer[0], answer[1], answer[2] if len(answer) == 3 else {})
                if fault.kind == "hang":
                    fake._released.wait(30)
                if fault.kind != "answer":
                    self.close_connection = True
                    return None
                return self.reply(fault.status, fault.body, fault.headers)

            def reply(self, status: int, body: Any, headers: dict[str, str]) -> None:
                raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(raw)), **fake.headers, **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PATCH = do_DELETE = serve  # noqa: N815 (the names that http.server looks for)

        return Handler

"""What a command is asked to look at: a recorded payload, a file with one, or an issue or pull request on GitHub."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

from hls_handler.cli.options import fail, need, refuse
from hls_handler.cli.payloads import find_payload
from hls_handler.clients.looking import look
from hls_handler.errors import DependencyDown, HlsError
from hls_handler.events import REPOSITORY_NAME, event_key
from hls_handler.handlers.reader import Reader
from hls_handler.sandbox.facts import SandboxReader
from hls_handler.sandbox.state import State
from hls_handler.settings.model import Settings

SUBJECT_HELP = (
    "A recorded payload by name (issues.opened, demo/question, ...), a file with one (./event.json), or an issue or a "
    "pull request on GitHub (https://github.com/OWNER/REPO/issues/7, OWNER/REPO#7). `hls send --list` prints the names."
)
LIVE_HELP = "Read the facts about a payload from GitHub, too. (Those about an address always are.)"

SHORT = re.compile(r"(?P<repository>[^\s#:]+)#(?P<number>[1-9][0-9]{0,8})")
PAGE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/(?:issues|pull)/(?P<number>[1-9][0-9]{0,8})(?:/.*)?")
PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Subject:
    """An event. `live`: the facts about it are read from GitHub; else from the built-in sandbox."""

    name: str  # as given
    event: str  # "issues"
    action: str | None  # "opened"
    live: bool
    body: bytes = field(repr=False)

    @property
    def key(self) -> str:
        """ "issues.opened", or "push" where there is no action."""
        return event_key(self.event, self.action)

    @property
    def payload(self) -> dict[str, Any]:
        """The body, parsed afresh."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def origin(self) -> str:
        """Where it is from, and where its facts are, as half a sentence."""
        facts = "facts from GitHub" if self.live else "facts from the built-in sandbox"
        return f"{self.name}; {facts}"


@dataclass(frozen=True, slots=True)
class ThreadName:
    repository: str  # "owner/repo"
    number: int


def find_subject(given: str, event: str | None, *, live: bool, settings: Settings, instead: str) -> Subject:
    """Exits with 2 when there is no such thing or the token is missing, with 1 when GitHub does not show it.

    `instead` says what to do where there is no token.
    """
    thread = find_thread(given, base_url=settings.github.base_url)
    if thread is None:
        payload = find_payload(given, event)
        if live:
            need(settings, "github.token", otherwise=instead)
        return Subject(payload.name, payload.event, payload.action, live, payload.body)
    if event is not None:
        refuse(["--event says what a file is; of an issue or a pull request, the event is always the `opened` one"])
    need(settings, "github.token", otherwise=instead)
    try:
        with closing(look(settings.github, now=lambda: datetime.now(UTC))) as github:
            opened = github.opened(thread.repository, thread.number)
    except HlsError as exc:
        fail(with_remedy(exc))
    return Subject(given, opened.event, "opened", True, json.dumps(opened.payload).encode())


def find_thread(given: str, *, base_url: str) -> ThreadName | None:
    """The issue or pull request that is meant; None for what looks like none. Exits with 2 where it is elsewhere."""
    if given.startswith(("https://", "http://")):
        return _of_address(given, base_url)
    match = SHORT.fullmatch(given)
    if match is None or not REPOSITORY_NAME.fullmatch(match["repository"]):
        return None
    return ThreadName(match["repository"], int(match["number"]))


def _of_address(given: str, base_url: str) -> ThreadName:
    home = web_host(base_url)
    address = _parts(given)
    match = PAGE.fullmatch(address.path) if address is not None else None
    if address is None or match is None or not REPOSITORY_NAME.fullmatch(match["repository"]):
        example = f"https://{home}/OWNER/REPO/issues/7"
        refuse([f"{given} is not the address of an issue or a pull request; those look like {example} or .../pull/13"])
    if _place(address).removeprefix("www.") != home:
        refuse([f"{given} is not on {home}, whose API github.base_url names ({base_url}); set github.base_url for it"])
    return ThreadName(match["repository"], int(match["number"]))


def web_host(base_url: str) -> str:
    """Where people see what an API tells: "github.com" of https://api.github.com.

    On a GitHub Enterprise Server the API is a path of the same host (https://HOST/api/v3); for Enterprise Cloud with
    data residency it has a host of its own (https://api.SUBDOMAIN.ghe.com).
    https://docs.github.com/en/enterprise-server/rest/using-the-rest-api/getting-started-with-the-rest-api
    """
    address = _parts(base_url)
    if address is None:
        refuse([f"github.base_url: {base_url} is not an address such as https://api.github.com"])
    return _place(address) if address.path.strip("/") else _place(address).removeprefix("api.")


def _parts(address: str) -> SplitResult | None:
    try:
        parts = urlsplit(address)
        return parts if parts.hostname and (parts.port is None or parts.port > 0) else None
    except ValueError:  # a port that is no number, half an IPv6 address
        return None


def _place(address: SplitResult) -> str:
    """Host and port, the port only where it is not the scheme's own."""
    host = address.hostname or ""
    return host if address.port in (None, PORTS.get(address.scheme)) else f"{host}:{address.port}"


@contextmanager
def open_reader(subject: Subject, repository: str, settings: Settings) -> Iterator[Reader]:
    """What a handler reads the subject's facts from."""
    if subject.live:
        with closing(look(settings.github, now=lambda: datetime.now(UTC))) as github:
            yield github.reader(repository)
        return
    state = State()
    state.plant(subject.event, subject.payload)
    yield SandboxReader(state, repository)


def with_remedy(error: HlsError) -> str:
    """The error's sentence, with what to do about it where the error knows that."""
    return f"{error}; {error.remedy}" if isinstance(error, DependencyDown) else str(error)

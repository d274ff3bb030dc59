"""Conversations: people act in the stand-in GitHub, the real pipeline processes their events, and
tests compare what GitHub then shows, as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from hls_handler.analysis import Reply, UnusableReply
from hls_handler.engine.active_config import ChosenAccount
from hls_handler.engine.pipeline import run_delivery
from hls_handler.errors import HlsError
from hls_handler.events import Account as HlsAccount
from hls_handler.github.api import GithubApi, WriteGuard
from hls_handler.github.checks import CHECK_NAME, GithubChecks
from hls_handler.github.client import Github
from hls_handler.github.connection import Call, HttpResponse
from hls_handler.reports.delivery_report import format_report, load_report
from hls_handler.sandbox import shapes
from hls_handler.sandbox.apps import InstallationToken
from hls_handler.sandbox.objects import Account, Comment, Conversation, Installation
from hls_handler.sandbox.reader import SETTINGS, LocalTransport, SandboxReader
from hls_handler.sandbox.state import State
from hls_handler.settings.model import Repository
from tests.engine.fakes import HLS
from tests.engine.world import World

REPOSITORY = "octo/hello"
ORGANIZATION = {"login": "octo", "id": 7, "type": "Organization"}
HOME = {
    "id": 1,
    "full_name": REPOSITORY,
    "html_url": f"https://github.com/{REPOSITORY}",
    "owner": ORGANIZATION,
    "default_branch": "main",
    "private": False,
}
DELIMITERS = re.compile(r"<untrusted \w+>\n?|\n?</untrusted \w+>")
PEOPLE = {"mona": 1, "zoe": 2, "otto": 3}
TOKEN = InstallationToken(
    Installation(1, 1, Account("octo", 7, "Organization"), None, {}),
    None,
    {},
    datetime.max.replace(tzinfo=UTC),
)
EVENTS = (
    *("issues", "pull_request", "pull_request_review", "pull_request_review_comment"),
    *("issue_comment", "workflow_run", "check_run", "release"),
)
FALLBACK_ISSUE = 12


def person(login: str) -> dict[str, Any]:
    """Return the account of a person, or of a bot: "renovate[bot]"."""
    kind = "Bot" if login.endswith("[bot]") else "User"
    return {"login": login, "id": PEOPLE.get(login, 50), "type": kind}


class StandInTransport:
    """Answers the requests of a client; those whose paths contain `refused` get a 403."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.refused = "?"

    def send(self, call: Call) -> HttpResponse:
        if self.refused not in call.target.partition("?")[0]:
            return LocalTransport(self.state, TOKEN).send(call)
        return HttpResponse(403, {}, b'{"message": "Resource not accessible by integration"}')

    def close(self) -> None:
        """Nothing is open."""


@cache
def _client() -> tuple[GithubApi, StandInTransport]:
    """Return the client of this process: loading certificates takes longer than a delivery."""
    transport = StandInTransport(State())
    return GithubApi(SETTINGS, now=lambda: datetime.now(UTC), transport=transport), transport


class StandIn(Github):
    """The real client, whose requests the stand-in answers in this process."""

    def __init__(self, state: State) -> None:
        api, self.transport = _client()
        super().__init__(api)
        self.transport.state = state
        self.transport.refused = "?"

    def reader(self, repository: str, *, bot: HlsAccount | None = None) -> SandboxReader:
        return SandboxReader(self.transport.state, REPOSITORY, self._api)

    def checks(
        self,
        repository: str,
        *,
        begin_write: Callable[[], None],
        check_lease: Callable[[], None],
        name: str = CHECK_NAME,
    ) -> GithubChecks:
        guard = WriteGuard(begin_write, check_lease)
        return GithubChecks(self._api, repository, uses_check_runs=True, guard=guard, name=name)


@dataclass(frozen=True)
class Talk:
    """An issue or a pull request, and what people do in it. Methods return how the delivery
    ended.
    """

    home: Home
    number: int

    @property
    def now(self) -> Conversation:
        found = self.home.state.conversation(REPOSITORY, self.number)
        assert found is not None
        return found

    @property
    def document(self) -> dict[str, Any]:
        repository = self.home.state.repository(REPOSITORY)
        assert repository is not None
        return shapes.issue(self.now, repository)

    def shown(self) -> str:
        """Return labels and the comments of HLS, without their footers."""
        own = [_text(one) for one in self.now.comments if one.author.login == HLS.login]
        kind = self.now.document.get("type")
        labels = " ".join(self.now.labels)
        return "\n--\n".join([f"{labels} ({kind['name']})" if kind else labels, *own])

    def act(self, action: str, by: str = "mona", **changes: Any) -> str:
        """Change the issue, such as `act("edited", body="Version 3")`."""
        name = "pull_request" if self.now.kind == "pull" else "issue"
        document = {**self.document, **changes}
        event = "issues" if name == "issue" else name
        before = {key: {"from": self.document[key]} for key in changes if action == "edited"}
        objects = {name: document, "number": self.number, "changes": before}
        return self.home.send(event, action, by, **objects)

    def comment(self, body: str, by: str = "mona") -> str:
        account = self.home.state.add_person(by)
        added = self.home.state.create_comment(self.now, body, by=account)
        document = {**shapes.comment(self.now, added), "user": person(by)}
        return self.home.send("issue_comment", "created", by, issue=self.document, comment=document)

    def label(self, name: str) -> None:
        """Add a label as a person, without a delivery."""
        self.home.state.add_labels(self.now, (name,), by=Account("zoe", 2, "User"))

    def unlabel(self, name: str) -> None:
        self.home.state.remove_label(self.now, name, by=Account("zoe", 2, "User"))


@dataclass
class Home:
    """The repository octo/hello in the stand-in GitHub, with HLS and a scripted Claude."""

    world: World
    state: State
    client: StandIn
    owner: Mapping[str, Any] = field(default_factory=lambda: ORGANIZATION)
    deliveries: int = 0

    def says(self, *replies: Reply | UnusableReply | HlsError) -> None:
        """Claude returns these replies, and then the last one repeatedly."""
        self.world.claude.replies = list(replies)

    @property
    def questions(self) -> Sequence[str]:
        """What Claude was asked, without the delimiters of untrusted text."""
        return [DELIMITERS.sub("", one.task) for one in self.world.claude.asked]

    @property
    def question(self) -> str:
        """The last question."""
        return self.questions[-1]

    @property
    def why(self) -> str:
        """What `hls why` says of the last delivery."""
        row = self.world.row(f"{self.deliveries}")
        return "\n".join(format_report(load_report(self.world.store, row)))

    def add_label(self, name: str, description: str = "") -> None:
        """Create a label of the repository."""
        self.state.create_label(REPOSITORY, name, "ededed", description)

    def open_issue(self, number: int = 7, by: str = "mona", **known: Any) -> Talk:
        issue = {"title": "Crash", "body": "It crashes.", **known}
        issue |= {"number": number, "user": person(by), "state": "open", "labels": []}
        self.seed("issues", "opened", by, issue=issue)
        talk = Talk(self, number)
        talk.act("opened", by)
        return talk

    def seed(self, event: str, action: str | None, by: str = "mona", **objects: Any) -> None:
        """Store the objects of an event in the stand-in, without a delivery."""
        self.state.seed(event, self._payload(action, by, objects), files=objects.pop("files", None))

    def send(self, event: str, action: str | None, by: str = "mona", **objects: Any) -> str:
        """Store the objects of an event, process it, and return how it ended."""
        self.seed(event, action, by, **objects)
        self.deliveries += 1
        guid = f"{self.deliveries}"
        payload = self._payload(action, by, objects)
        if self.world.receive(event, payload, guid=guid) == "queued":
            tools = replace(
                self.world.tools(),
                github=self.client,
                choose_account=lambda _repository, _number: ChosenAccount(self.client, HLS),
            )
            run_delivery(self.world.claim(), tools)
        row = self.world.row(guid)
        return f"{row.state}: {row.reason}"

    def _payload(self, action: str | None, by: str, objects: Mapping[str, Any]) -> dict[str, Any]:
        repository = {**HOME, "owner": self.owner}
        given = {"repository": repository, "sender": person(by), **objects}
        return given if action is None else {"action": action, **given}


def open_home(world: World, **entry: Any) -> Home:
    """Open octo/hello; `entry` are keys of its settings."""
    post_to = {"release": FALLBACK_ISSUE, "workflow_run": FALLBACK_ISSUE}
    comments = {"post_to": post_to, **entry.pop("comments", {})}
    known = {"name": REPOSITORY, "events": EVENTS, "comments": comments, **entry}
    repositories = (Repository.model_validate(known),)
    world.settings = world.settings.model_copy(update={"repositories": repositories})
    state = State(me=Account(HLS.login, HLS.id, HLS.type))
    state.seed("", {"repository": HOME})
    return Home(world, state, StandIn(state))


def _text(comment: Comment) -> str:
    """Return a comment of HLS without footer and invisible lines."""
    lines = comment.body.partition("\n***\n")[0].split("\n")
    return "\n".join(line for line in lines if line and not line.startswith("<!--"))

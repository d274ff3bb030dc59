"""Conversations: people act in the stand-in GitHub, the real pipeline processes their events, and
tests compare what GitHub then shows, as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hls_handler.analysis import Finding, ReplyFields, UnusableReply
from hls_handler.errors import HlsError
from hls_handler.reports.delivery_report import format_report, load_report
from hls_handler.settings.sections import RepositoryEntry
from hls_sandbox import shapes
from hls_sandbox.objects import (
    Account,
    Conversation,
    Job,
)
from hls_sandbox.state import State
from tests.engine.stand_in import StandIn, visible_text
from tests.engine.world import World, make_github
from tests.handlers.events import LOG
from tests.handlers.world import HLS, pull_request_analysis

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
HEAD = "0123456789abcdef0123456789abcdef01234567"  # of the branch mona:fix
RUN: Mapping[str, Any] = {
    "id": 70, "name": "Tests", "workflow_id": 5, "path": ".github/workflows/tests.yml",
    "run_number": 41, "conclusion": "failure", "event": "pull_request", "status": "completed",
    "head_sha": HEAD, "head_branch": "fix", "pull_requests": [],
    "head_repository": {"full_name": "mona/hello", "owner": {"login": "mona", "id": 1}},
    "html_url": f"https://github.com/{REPOSITORY}/actions/runs/70",
    "head_commit": {"message": "Fix"},
}  # fmt: skip
DELIMITERS = re.compile(r"<untrusted \w+>\n?|\n?</untrusted \w+>")
PEOPLE = {"mona": 1, "zoe": 2, "otto": 3}
EVENTS = (
    *("issues", "pull_request", "pull_request_review", "pull_request_review_comment"),
    *("issue_comment", "workflow_run", "check_run", "release"),
)
FALLBACK_ISSUE = 12


def person(login: str) -> dict[str, Any]:
    """Return the account of a person, or of a bot: "renovate[bot]"."""
    kind = "Bot" if login.endswith("[bot]") else "User"
    return {"login": login, "id": PEOPLE.get(login, 50), "type": kind}


def changed_file(path: str = "area.py", **known: Any) -> dict[str, Any]:
    patch = "@@ -1,2 +1,2 @@\n def area(side):\n-    return side * 2\n+    return side ** 2"
    counts = {"additions": 1, "deletions": 1, "changes": 2}
    plain = {"filename": path, "status": "modified", "sha": "c" * 40, "patch": patch}
    return {**plain, **counts, **known}


def job(
    name: str = "test", log: str | None = LOG, conclusion: str = "failure", **known: Any
) -> Job:
    """Return a job whose step "Run pytest" has the same conclusion, unless `steps` are given."""
    steps = [
        {"number": number, "name": step, "conclusion": ended, "status": "completed",
         "started_at": f"2026-11-20T09:00:{number}0Z",
         "completed_at": f"2026-11-20T09:00:{number}9Z"}
        for number, step, ended in (
            (1, "Set up job", "success"), (2, "Run pytest", conclusion), (3, "Upload", "skipped")
        )
    ]  # fmt: skip
    annotations = tuple(known.pop("annotations", ()))
    document = {"name": name, "conclusion": conclusion, "steps": steps, "status": "completed"}
    return Job({**document, **known}, log, annotations)


def annotation(message: str, level: str = "failure", path: str = ".github", line: int = 1) -> Any:
    """Return an annotation, as GitHub itself writes it unless `path` is given."""
    place = {"path": path, "start_line": line, "end_line": line}
    return {**place, "annotation_level": level, "title": None, "message": message}


def release(number: int = 501, tag: str = "v1.4.0", hour: int = 9, **known: Any) -> dict[str, Any]:
    plain = {"name": "More", "body": "There is more.", "draft": False, "prerelease": False}
    at = f"2026-11-20T{hour:02}:00:00Z"
    more = {"author": person("mona"), "published_at": at, "target_commitish": "main"}
    url = f"https://github.com/{REPOSITORY}/releases/tag/{tag}"
    return {"id": number, "tag_name": tag, "html_url": url, **plain, **more, **known}


@dataclass(frozen=True)
class Talk:
    """An issue or a pull request, and what people do in it. Methods return how the delivery
    ended.
    """

    home: Home
    number: int

    @property
    def now(self) -> Conversation:
        found = self.home.state.conversation(self.home.full_name, self.number)
        assert found is not None
        return found

    @property
    def document(self) -> dict[str, Any]:
        repository = self.home.state.repository(self.home.full_name)
        assert repository is not None
        return shapes.issue(self.now, repository)

    def shown(self) -> str:
        """Return labels and the comments of HLS, without their footers."""
        own = [
            re.sub("\n+", "\n", visible_text(one.body))
            for one in self.now.comments
            if one.author.login == HLS.login
        ]
        kind = self.now.document.get("type")
        labels = " ".join(self.now.labels)
        return "\n--\n".join([f"{labels} ({kind['name']})" if kind else labels, *own])

    @property
    def on_lines(self) -> Sequence[str]:
        """The first lines of the comments of HLS on lines: "area.py:2 **Wrong** ..."."""
        own = [one for one in self.now.reviews if one.author.login == HLS.login]
        return [
            f"{one['path']}:{one['line']} {one['body'].partition(chr(10))[0]}"
            for review in own
            for one in review.comments
        ]

    @property
    def check(self) -> str:
        """The check on the head commit: conclusion, title and annotations."""
        runs = self.home.state.world.check_runs_on(self.home.full_name, self.now.head_sha)
        run = runs[-1]
        notes = [f"{one['path']}:{one['end_line']} {one['title']}" for one in run["annotations"]]
        return "\n".join([f"{run['conclusion']}: {run['output']['title']}", *notes])

    def act(self, action: str, by: str = "mona", **changes: Any) -> str:
        """Change the issue, such as `act("edited", body="Version 3")`."""
        name = "pull_request" if self.now.kind == "pull" else "issue"
        document = {**self.document, **changes}
        event = "issues" if name == "issue" else name
        before = {key: {"from": self.document[key]} for key in changes if action == "edited"}
        objects = {name: document, "number": self.number, "changes": before}
        return self.home.send(event, action, by, **objects)

    def push(self, sha: str, *files: Mapping[str, Any]) -> str:
        """Push a commit with these changed files."""
        pull = {**self.document, "head": {**self.document["head"], "sha": sha}}
        number = self.number
        self.home.seed("pull_request", "synchronize", pull_request=pull, number=number, files=files)
        return self.act("synchronize")

    def comment(self, body: str, by: str = "mona") -> str:
        account = self.home.state.add_person(by)
        added = self.home.state.create_comment(self.now, body, by=account)
        document = {**shapes.comment(self.now, added), "user": person(by)}
        return self.home.send("issue_comment", "created", by, issue=self.document, comment=document)

    def review(self, body: str = "Please square the side.", *comments: Any, **known: Any) -> str:
        """Submit a review with comments on lines; `known` are its fields."""
        by = known.pop("by", "zoe")
        review = {
            "id": 501, "user": person(by), "state": "changes_requested", "body": body,
            "commit_id": "abcdef0123456789", "submitted_at": "2026-11-20T09:00:00Z", **known,
        }  # fmt: skip
        self.add_review(review, *comments)
        objects = {"pull_request": self.document, "review": review}
        return self.home.send("pull_request_review", "submitted", by, **objects)

    def add_review(self, review: Mapping[str, Any], *comments: Any) -> None:
        """Add a review without a delivery."""
        self.home.seed(
            "pull_request_review", "submitted", pull_request=self.document, review=review
        )
        first = 1000 * review["id"]
        listed = tuple({"id": first + place, **one} for place, one in enumerate(comments))
        added = self.now.review(review["id"])
        assert added is not None
        others = tuple(one for one in self.now.reviews if one.id != added.id)
        changed = replace(self.now, reviews=(*others, replace(added, comments=listed)))
        self.home.state.change(lambda world: world.with_conversation(changed))

    def reply(self, thread: int, body: str, by: str = "mona") -> str:
        """Reply in the review thread that begins with a comment."""
        number = 1_000_000 + len(self.now.reviews)
        ids = {"id": number, "pull_request_review_id": number, "in_reply_to_id": thread}
        objects = self._on_line(thread)
        objects["comment"] |= {**ids, "body": body, "user": person(by)}
        return self.home.send("pull_request_review_comment", "created", by, **objects)

    def resolve(self, thread: int, by: str = "mona", *, is_resolved: bool = True) -> str:
        """Resolve a review thread, or open it again."""
        resolved_by = by if is_resolved else None
        self.home.state.set_resolved(self.home.full_name, self.number, thread, resolved_by)
        action = "resolved" if is_resolved else "unresolved"
        objects = {"thread": {"comments": [{"id": thread}]}, "pull_request": self.document}
        return self.home.send("pull_request_review_thread", action, by, **objects)

    def delete(self, thread: int, by: str = "mona") -> str:
        """Delete a comment on a line."""
        objects = self._on_line(thread)
        return self.home.send("pull_request_review_comment", "deleted", by, **objects)

    def hide(self, thread: int) -> None:
        """Remove a comment on a line without a delivery."""
        self.home.seed("pull_request_review_comment", "deleted", **self._on_line(thread))

    def _on_line(self, number: int) -> dict[str, Any]:
        """Return the objects of an event of a comment on a line."""
        pairs = self.now.review_comments()
        review, comment = next(pair for pair in pairs if pair[1]["id"] == number)
        shown = {**shapes.review_comment(self.now, review, comment)}
        return {"comment": shown, "pull_request": self.document}

    def label(self, name: str) -> None:
        """Add a label as a person, without a delivery."""
        self.home.state.add_labels(self.now, (name,), by=Account("zoe", 2, "User"))

    def unlabel(self, name: str) -> None:
        self.home.state.remove_label(self.now, name, by=Account("zoe", 2, "User"))


def _do_nothing() -> None: ...


@dataclass
class Home:
    """A repository in the stand-in GitHub, octo/hello, with HLS and a scripted Claude."""

    world: World
    client: StandIn
    repository: Mapping[str, Any] = field(default_factory=lambda: HOME)
    owner: Mapping[str, Any] = field(default_factory=lambda: ORGANIZATION)
    deliveries: int = 0
    meanwhile: Callable[[], object] = _do_nothing  # before the next delivery is processed

    def says(self, *replies: ReplyFields | UnusableReply | HlsError) -> None:
        """Claude returns these replies, and then the last one repeatedly."""
        self.world.claude.replies = list(replies)

    def go_live(self) -> None:
        """Switch the dry run off."""
        (entry,) = self.world.settings.repositories
        changed = entry.model_dump(exclude_unset=True) | {"features": {"dry_run": False}}
        repositories = (RepositoryEntry.model_validate(changed),)
        self.world.settings = self.world.settings.model_copy(update={"repositories": repositories})

    def while_asked(self, act: Callable[[], object]) -> None:
        """Let this happen while Claude answers the next question."""

        def act_once(_call: str) -> None:
            self.world.claude.on_call = lambda _call: None
            act()

        self.world.claude.on_call = act_once

    @property
    def full_name(self) -> str:
        return str(self.repository["full_name"])

    @property
    def state(self) -> State:
        return self.client.state

    @property
    def fallback(self) -> Talk:
        """The issue that receives comments about events without a conversation."""
        return Talk(self, FALLBACK_ISSUE)

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

    def add_label(self, name: str) -> None:
        """Create a label of the repository."""
        self.state.create_label(self.full_name, name, "ededed", "")

    def open_issue(self, number: int = 7, by: str = "mona", **known: Any) -> Talk:
        issue = {"title": "Crash", "body": "It crashes.", "state": "open", "labels": [], **known}
        issue |= {"number": number, "user": person(by)}
        self.seed("issues", "opened", by, issue=issue)
        talk = Talk(self, number)
        talk.act("opened", by)
        return talk

    def open_pull_request(self, number: int = 8, by: str = "mona", **known: Any) -> Talk:
        """Add a pull request from the branch mona:fix, without a delivery. `files` are the changed
        ones.
        """
        head = {
            "sha": HEAD, "ref": "fix", "label": "mona:fix",
            "repo": {"full_name": "mona/hello"}, "user": person("mona"),
        }  # fmt: skip
        files = known.pop("files", [changed_file()])
        pull = {
            "number": number, "title": "Square it", "body": "As it should be.", "state": "open",
            "user": person(by), "head": head, "draft": False, "labels": [],
            "base": {"ref": "main", "sha": "b" * 40}, **known,
        }  # fmt: skip
        payload = self._payload("opened", by, {"pull_request": pull, "number": number})
        self.state.seed("pull_request", payload, files=files)
        return Talk(self, number)

    def review(self, *findings: Finding, **known: Any) -> Talk:
        """Open a pull request, in which Claude finds this."""
        self.says(pull_request_analysis(findings=list(findings)))
        pull = self.open_pull_request(**known)
        pull.act("opened")
        return pull

    def end_run(self, *jobs: Job, **known: Any) -> str:
        """Let a workflow run end. `earlier` are the jobs of its earlier attempts."""
        earlier: Sequence[Sequence[Job]] = known.pop("earlier", ())
        run = {**RUN, "run_attempt": len(earlier) + 1, **known}
        self.client.put_run(run, *earlier, jobs)
        return self.send("workflow_run", "completed", workflow_run=run, workflow={})

    def seed(self, event: str, action: str | None, by: str = "mona", **objects: Any) -> None:
        """Store the objects of an event in the stand-in, without a delivery."""
        files = objects.pop("files", None)
        self.state.seed(event, self._payload(action, by, objects), files=files)

    def send(self, event: str, action: str | None, by: str = "mona", **objects: Any) -> str:
        """Store the objects of an event, process it, and return how it ended."""
        self.deliveries += 1
        guid = f"{self.deliveries}"
        # as GitHub's times do, the number tells apart what somebody does twice
        payload = {**self._payload(action, by, objects), "number_of_delivery": guid}
        if self.world.receive(event, payload, guid=guid) == "queued":
            meanwhile, self.meanwhile = self.meanwhile, _do_nothing
            meanwhile()
            self.process()
        row = self.world.row(guid)
        return f"{row.state}: {row.reason}"

    def process(self) -> None:
        """Process the next delivery that is due."""
        self.world.run()

    def _payload(self, action: str | None, by: str, objects: Mapping[str, Any]) -> dict[str, Any]:
        repository = {**self.repository, "owner": self.owner}
        given = {"repository": repository, "sender": person(by), **objects}
        return given if action is None else {"action": action, **given}


def open_home(world: World, **entry: Any) -> Home:
    """Open octo/hello; `entry` are keys of its settings."""
    post_to = {"release": FALLBACK_ISSUE, "workflow_run": FALLBACK_ISSUE}
    comments = {"post_to": post_to, **entry.pop("comments", {})}
    known = {"name": REPOSITORY, "events": EVENTS, "comments": comments, **entry}
    repositories = (RepositoryEntry.model_validate(known),)
    world.settings = world.settings.model_copy(update={"repositories": repositories})
    world.github = make_github(REPOSITORY)
    home = Home(world, world.github)
    home.seed("issues", "opened", issue={"number": FALLBACK_ISSUE, "title": "Events"})
    return home

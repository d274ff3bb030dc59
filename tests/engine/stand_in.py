"""GitHub for tests: the real client, whose requests the sandbox answers in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from threading import get_ident
from typing import Any

from hls_handler.events import Account as HlsAccount
from hls_handler.events import Comment as HlsComment
from hls_handler.events import Issue, PullRequest
from hls_handler.events import Review as HlsReview
from hls_handler.github.api import GithubApi, WriteGuard
from hls_handler.github.app_setup import PERMISSIONS
from hls_handler.github.check_writer import CHECK_NAME, GithubChecks
from hls_handler.github.client import Github
from hls_handler.github.comments import marker
from hls_handler.github.connection import Call, HttpResponse
from hls_handler.github.values import ChangedFile, ReviewComment, ReviewThread
from hls_handler.prompting import recorded
from hls_sandbox.apps import InstallationToken
from hls_sandbox.objects import (
    Account,
    Attempt,
    Comment,
    Conversation,
    Installation,
    Job,
    Permission,
    Reaction,
    Review,
    Run,
)
from hls_sandbox.state import State
from tests.github_fake.faults import Fault, Faults
from tests.github_fake.files import set_file
from tests.github_fake.git import LocalMirrors
from tests.github_fake.reader import SETTINGS, LocalTransport, SandboxReader

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TOKEN = InstallationToken(
    Installation(1, 1, Account("octo", 7, "Organization"), None, {}),
    None,
    PERMISSIONS,
    datetime.max.replace(tzinfo=UTC),
)


class StandInTransport:
    """Passes the requests of the shared client to the one that was used last."""

    home: StandIn

    def send(self, call: Call) -> HttpResponse:
        return self.home.answer(call)

    def close(self) -> None:
        """Nothing is open."""


@cache
def _client(_thread: int) -> tuple[GithubApi, StandInTransport]:
    """Return the client of a thread: loading certificates takes longer than a delivery."""
    transport = StandInTransport()
    return GithubApi(SETTINGS, now=lambda: datetime.now(UTC), transport=transport), transport


class StandIn(Github):
    """The real client of one repository, for the thread that creates it. Its properties are what
    GitHub shows of the writes of HLS.
    """

    def __init__(self, state: State, repository: str = "Codertocat/Hello-World") -> None:
        api, self._transport = _client(get_ident())
        super().__init__(api)
        self.state = state
        self.repository = repository
        self.token: InstallationToken | None = TOKEN  # None: the personal token of `state.me`
        self.mirrors = LocalMirrors(SETTINGS.base_url)
        self.faults = Faults()
        self.calls: list[str] = []  # as "POST /issues/1/comments", in order
        self.targets: list[str] = []  # their paths with queries
        # run during every request: before it has an effect, and when it had one
        self.on_call: Callable[[str], None] = lambda _call: None
        self.on_response: Callable[[str], None] = lambda _call: None
        self._use()

    def _use(self) -> None:
        self._transport.home = self

    def answer(self, call: Call) -> HttpResponse:
        path = call.name.partition(" ")[2].removeprefix(f"/repos/{self.repository}") or "/"
        name = f"{call.verb} {path}"
        call.before_send()
        self.calls.append(name)
        self.targets.append(call.target)
        self.on_call(name)
        fault = self.faults.take("github", call.verb, path)
        if fault is not None:
            return HttpResponse(fault.status, {}, b'{"message": "Fault"}')
        response = LocalTransport(self.state, self.token).send(call)
        self.on_response(name)
        return response

    def fail(self, status: int, call: str, *, times: int | None = 1) -> None:
        """Respond with this status to the next requests named `call`, such as "POST /labels". The
        method may be left out; the path is a regular expression.
        """
        method, _, path = call.rpartition(" ")
        fault = Fault(effect="status", status=status, method=method or ".*", path=path, times=times)
        self.faults.add(fault)

    def raise_once(self, error: Exception, call: str) -> None:
        """Raise the error at the next request that is exactly `call`, which has no effect."""
        self.on_call = _raise_once(error, call)

    def lose_response(self, error: Exception, call: str) -> None:
        """Raise the error at the next request that is exactly `call`, when it had its effect."""
        self.on_response = _raise_once(error, call)

    # --- what tests put on GitHub

    def seed_event(
        self,
        event: str,
        payload: Mapping[str, Any],
        *,
        files: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Store what an event says. `files` are those of its pull request."""
        home: Any = recorded.load("issues.opened").payload["repository"]
        owner, _, name = self.repository.partition("/")
        names = {
            "full_name": self.repository,
            "name": name,
            "owner": {**home["owner"], "login": owner},
        }
        self.state.seed(event, {"repository": {**home, **names}, **payload}, files=files)

    def put_issue(self, issue: Issue) -> None:
        """Create or edit an issue. An existing one keeps its labels."""
        self.seed_event("issues", {"action": "edited", "issue": issue_document(issue)})

    def put_pull_request(self, pull: PullRequest, *files: ChangedFile) -> None:
        payload = {"action": "edited", "pull_request": pull_document(pull)}
        self.seed_event("pull_request", payload, files=[file_document(file) for file in files])

    def put_comments(self, number: int, comments: Sequence[HlsComment]) -> None:
        conversation = self.conversation(number)
        added = [
            Comment(comment.id, _to_account(comment.user), comment.body, NOW, NOW)
            for comment in comments
        ]
        changed = replace(conversation, comments=(*conversation.comments, *added))
        self.state.change(lambda world: world.with_conversation(changed))

    def put_review(
        self, number: int, review: HlsReview, comments: Sequence[ReviewComment] = ()
    ) -> None:
        """Add a review with comments on lines."""
        pull = self.conversation(number)
        author = _to_account(review.user)
        documents = [
            {"id": 1000 * review.id + place, "diff_hunk": comment.hunk, **asdict(comment)}
            for place, comment in enumerate(comments, start=1)
        ]
        added = Review(
            review.id, author, review.state, review.body, pull.head_sha, NOW, tuple(documents)
        )
        changed = replace(pull, reviews=(*pull.reviews, added))
        self.state.change(lambda world: world.with_conversation(changed))

    def put_run(self, run: Mapping[str, Any], *attempts: Sequence[Job]) -> None:
        """Store a workflow run and the jobs of its attempts: 70101 is the first job of the first
        attempt of run 70.
        """
        self.seed_event("workflow_run", {"action": "completed", "workflow_run": run})
        stored: list[Attempt] = []
        for number, jobs in enumerate(attempts, start=1):
            first = 1000 * run["id"] + 100 * number + 1
            numbered = tuple(
                replace(job, document={**job.document, "id": first + place})
                for place, job in enumerate(jobs)
            )
            stored.append(Attempt(number, {**run, "run_attempt": number}, numbered))
        changed = Run(self.repository, run["id"], tuple(stored))
        self.state.change(lambda world: world.with_run(changed))

    def put_threads(self, number: int, threads: Sequence[ReviewThread]) -> None:
        """Replace the review threads that HLS opened."""
        me, pull = self.state.me, self.conversation(number)
        reviews: list[Review] = []
        reactions: list[Reaction] = []
        for thread in threads:
            body = marker(f"finding {thread.key}")
            first = {"id": thread.comment_id, "body": body, "line": thread.line}
            answers = [(me, marker(f"reply {key}")) for key in thread.own_replies]
            answers += [(Account(one.author, 50, "User"), one.body) for one in thread.replies]
            reviews.append(
                Review(thread.comment_id, me, "commented", "", pull.head_sha, NOW, (first,))
            )
            first_id = 1000 * thread.comment_id
            for number, (author, body) in enumerate(answers, start=first_id):
                answer = {"id": number, "body": body, "in_reply_to_id": thread.comment_id}
                reviews.append(
                    Review(number, author, "commented", "", pull.head_sha, NOW, (answer,))
                )
            for content, logins in (("+1", thread.thumbs_up), ("-1", thread.thumbs_down)):
                reactions += [Reaction(thread.comment_id, login, content) for login in logins]
        resolved = {one.comment_id: one.resolved_by or "" for one in threads if one.is_resolved}
        changed = replace(
            pull, reviews=tuple(reviews), resolved=resolved, reactions=tuple(reactions)
        )
        self.state.change(lambda world: world.with_conversation(changed))

    def commit(
        self,
        files: Mapping[str, str | bytes],
        name: str = "",
        *,
        branch: str = "",
        parent: str = "",
    ) -> str:
        """Store a commit with exactly these files, as the newest of the branch, and return its id:
        `name` if that is given.
        """
        commit = self.mirrors.commit(self.repository, files, name, parent=parent)
        if branch:
            self.state.change(lambda world: world.with_ref(self.repository, branch, commit))
        return commit

    def put_files(self, ref: str, files: Mapping[str, str]) -> None:
        """Store files of a branch or commit for the API alone."""
        for path, text in files.items():
            set_file(self.state, self.repository, path, text, branch=ref)

    def relabel(self, number: int, *labels: str) -> None:
        """Replace the labels, as a person does."""
        person = Account("zoe", 2, "User")
        for label in self.conversation(number).labels:
            if label not in labels:
                self.state.remove_label(self.conversation(number), label, by=person)
        self.state.add_labels(self.conversation(number), labels, by=person)

    def permit(self, login: str, permission: Permission) -> None:
        self.state.set_permission(self.repository, login, permission)

    def conversation(self, number: int) -> Conversation:
        found = self.state.conversation(self.repository, number)
        assert found is not None
        return found

    # --- what GitHub shows

    @property
    def writes(self) -> list[str]:
        """The requests that are neither reads nor queries."""
        reads = ("GET", "POST /graphql")
        return [call for call in self.calls if not call.startswith(reads)]

    @property
    def comments(self) -> dict[int, str]:
        """The last comment of HLS on each issue or pull request, without what is invisible."""
        return {
            one.number: visible_text(comment.body)
            for one in self.state.conversations()
            for comment in one.comments
            if comment.author == self.state.me
        }

    @property
    def labels(self) -> dict[int, tuple[str, ...]]:
        return {one.number: one.labels for one in self.state.conversations() if one.labels}

    def checks_of(self, sha: str, name: str = CHECK_NAME) -> list[str]:
        """The check runs of a commit, oldest first: the conclusion, or the title while it runs."""
        runs = self.state.world.check_runs_on(self.repository, sha)
        return [
            run["conclusion"] or run["output"]["title"] or run["status"]
            for run in runs
            if run["name"] == name
        ]

    def check_output(self, sha: str) -> Mapping[str, str]:
        """Title and summary of the newest check run "HLS review" of a commit."""
        runs = self.state.world.check_runs_on(self.repository, sha)
        output: Mapping[str, str] = [run for run in runs if run["name"] == CHECK_NAME][-1]["output"]
        return output

    # --- the client

    @property
    def requests_sent(self) -> int:
        return len(self.calls)

    def fetch_bot_account(self) -> HlsAccount:
        self._use()
        return super().fetch_bot_account()

    def reader(self, repository: str, *, bot: HlsAccount | None = None) -> SandboxReader:
        self._use()
        return SandboxReader(self.state, repository, self._api, mirrors=self.mirrors)

    def checks(self, repository: str, guard: WriteGuard, *, name: str = CHECK_NAME) -> GithubChecks:
        self._use()
        api = self._api.of(repository).with_guard(guard)
        return GithubChecks(api, uses_check_runs=True, name=name)


def _raise_once(error: Exception, call: str) -> Callable[[str], None]:
    errors = [error]

    def fail(name: str) -> None:
        if name == call and errors:
            raise errors.pop()

    return fail


def _to_account(account: HlsAccount) -> Account:
    return Account(account.login, account.id, account.type)


def visible_text(body: str) -> str:
    """Return a comment's text without footer and invisible lines."""
    lines = body.partition("\n***\n")[0].split("\n")
    return "\n".join(line for line in lines if not line.startswith("<!--")).strip()


def issue_document(issue: Issue) -> dict[str, Any]:
    document = asdict(issue)
    del document["is_pull_request"], document["comments"]
    return document


def pull_document(pull: PullRequest) -> dict[str, Any]:
    document = asdict(pull)
    head = {"sha": document.pop("head_sha"), "ref": document.pop("head_ref")}
    document["head"] = {**head, "label": f"{pull.user.login}:{head['ref']}"}
    document["base"] = {"sha": document.pop("base_sha"), "ref": document.pop("base_ref")}
    del document["comments"]
    return document


def file_document(file: ChangedFile) -> dict[str, Any]:
    names = {"path": "filename", "previous_path": "previous_filename"}
    document = {names.get(key, key): value for key, value in asdict(file).items()}
    commit = document.pop("commit")
    if commit is not None:  # else the sandbox names the head
        document["contents_url"] = f"https://api.github.com/contents/{file.path}?ref={commit}"
    return document

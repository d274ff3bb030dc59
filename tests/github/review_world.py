"""A pull request in the sandbox with patches, and the real client: for tests of labels, comments
and reviews.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from hls_handler.actions import EnsureReply, EnsureReview, InlineComment, Outcome
from hls_handler.events import Account
from hls_handler.github.api import GithubApi, WriteGuard
from hls_handler.github.client import Github
from hls_handler.github.writer import GithubWriter
from hls_handler.prompting import recorded
from hls_handler.settings.model import GithubSettings
from hls_sandbox.objects import Account as SandboxAccount
from hls_sandbox.objects import Conversation
from hls_sandbox.state import BOT as SANDBOX_BOT
from hls_sandbox.world import World
from tests.github.fake_history import FakeHistory
from tests.github_fake.middleware import LoggedRequest
from tests.github_fake.server import Sandbox

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TOKEN = "ghp_secretsecretsecretsecret"
REPOSITORY, NUMBER = "Codertocat/Hello-World", 2
HEAD = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"  # of the recorded pull request 2
PATCH = (
    "@@ -1,3 +1,10 @@\n import os\n-old\n+line 2\n+line 3\n+line 4\n+line 5\n+line 6\n+line"
    " 7\n+line 8\n+line 9\n last\n@@ -20,2 +27,3 @@\n far\n+line 28\n away"
)
FILES = [
    {"filename": "a.py", "status": "modified", "additions": 9, "deletions": 1, "patch": PATCH},
    {"filename": "logo.png", "status": "added", "additions": 0, "deletions": 0},
]
BOT = Account(SANDBOX_BOT.login, SANDBOX_BOT.id, "User")
MONA = SandboxAccount("mona", 1, "User")

REVIEWS = f"/repos/{REPOSITORY}/pulls/{NUMBER}/reviews"
COMMENTS = f"/repos/{REPOSITORY}/pulls/{NUMBER}/comments"


def github_settings(base_url: str, token: str = TOKEN) -> GithubSettings:
    return GithubSettings(
        token=SecretStr(token),
        webhook_secret=SecretStr("sixteen bytes at least"),
        base_url=base_url,
    )


def seed_pull_request(sandbox: Sandbox, *, head: str = HEAD) -> None:
    payload = recorded.load("pull_request.opened").payload
    shown: dict[str, Any] = {
        **payload["pull_request"],
        "head": {**payload["pull_request"]["head"], "sha": head},
    }
    sandbox.state.seed("pull_request", {**payload, "pull_request": shown}, files=FILES)


def inline(line: int, **known: Any) -> InlineComment:
    """A comment on a line of `a.py`, whose key is "f" and the line."""
    plain = {
        "key": f"f{line}",
        "path": "a.py",
        "side": "RIGHT",
        "start_line": None,
        "line": line,
        "body": "Wrong.",
    }
    return InlineComment(**{**plain, **known})


@dataclass
class ReviewWorld:
    sandbox: Sandbox
    api: GithubApi
    bot: Account = BOT
    history: FakeHistory = field(default_factory=FakeHistory)

    def writer(
        self,
        begin_write: Callable[[], None] = lambda: None,
        *,
        dry_run: bool = False,
        github: Github | None = None,
        history: FakeHistory | None = None,
    ) -> GithubWriter:
        guard = None if dry_run else WriteGuard(begin_write, lambda: None)
        return (github or Github(self.api)).writer(
            REPOSITORY, bot=self.bot, history=history or self.history, guard=guard
        )

    def review(
        self, *comments: InlineComment, is_retry: bool = False, commit: str = HEAD
    ) -> Outcome:
        return self.writer().ensure_review(
            NUMBER, EnsureReview(commit, comments), is_retry=is_retry
        )

    def reply(self, comment_id: int, key: str = "fixed", *, is_retry: bool = False) -> Outcome:
        return self.writer().ensure_reply(
            NUMBER, EnsureReply(comment_id, key, "Fixed."), is_retry=is_retry
        )

    @property
    def pull(self) -> Conversation:
        return self.sandbox.conversation(NUMBER)

    def posted(self) -> list[list[str]]:
        """The bodies of the comments of each review, by review."""
        return [[comment["body"] for comment in review.comments] for review in self.pull.reviews]

    def posted_lines(self) -> list[list[int]]:
        return [[comment["line"] for comment in review.comments] for review in self.pull.reviews]

    def seen(self) -> tuple[LoggedRequest, ...]:
        return self.sandbox.requests.all("github")

    def calls(self) -> list[str]:
        return [f"{one.method} {one.path}" for one in self.seen()]


@contextmanager
def open_review_world(sandbox: Sandbox) -> Iterator[ReviewWorld]:
    """Reset a running sandbox to the pull request."""
    sandbox.state.change(lambda _: World().with_account(sandbox.state.me))
    sandbox.faults.clear()
    seed_pull_request(sandbox)
    settings = github_settings(sandbox.github_url, sandbox.token)
    with closing(GithubApi(settings, now=lambda: NOON, timeout_s=15.0)) as api:
        sandbox.requests.clear()
        yield ReviewWorld(sandbox, api)

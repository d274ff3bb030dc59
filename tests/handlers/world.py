"""Issues, pull requests, a repository, a job and analyses for the tests of handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import unified_diff
from typing import Any

from hls_handler.actions import Action, EnsureCheck, Outcome
from hls_handler.analysis import (
    Analysis,
    Finding,
    IssueAnalysis,
    IssueResponse,
    PullRequestAnalysis,
    Reply,
    ReplyFields,
    ReviewAnalysis,
    ReviewRequest,
    Usage,
)
from hls_handler.deliveries import End
from hls_handler.events import (
    Account,
    Event,
    Issue,
    Label,
    PullRequest,
    Repository,
    Review,
)
from hls_handler.github.values import ChangedFile, ReviewComment, ReviewThread
from hls_handler.handlers import pull_requests
from hls_handler.handlers.job import (
    NO_GUARD,
    NO_INLINE,
    Conversation,
    Facts,
    FactSource,
    Guard,
    PromptLimits,
    Replies,
)
from hls_handler.handlers.pull_requests import find_present
from hls_handler.handlers.reader import EmptyHistory, HistoryUpdate
from hls_handler.prompting.prompt import Library
from hls_handler.review.blocks import Block
from hls_handler.review.changed_files import Selection, select_files
from hls_handler.review.facts import PullRequestFacts
from hls_handler.review.record import NO_REVIEW, ReviewRecord
from hls_handler.review.redacted_patches import number_patch, redact_patch
from hls_handler.review.skipped_files import NO_ATTRIBUTES, LinguistAttributes, SkipRules
from hls_handler.routing import Rule
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.path_globs import EMPTY_PATH_FILTER, PathFilter
from hls_handler.settings.repository import FileProblems
from hls_sandbox import objects as sandbox
from hls_sandbox.state import State
from tests.engine.stand_in import StandIn
from tests.routing.world import settings

HLS = Account("hls[bot]", 99, "Bot")
MONA = Account("mona", 1, "User")
ZOE = Account("zoe", 2, "User")
PATCH = "@@ -1,2 +1,2 @@\n def area(side):\n-    return side * 2\n+    return side ** 2"
ISSUE = Issue(
    number=1,
    title="Spelling error in the README file",
    body="It looks like you accidently spelled 'commit' with two 't's.",
    user=Account("octocat", 1, "User"),
    state="open",
    locked=False,
    labels=(),
    author_association="NONE",
    html_url="https://github.com/Codertocat/Hello-World/issues/1",
)


def issue(**known: Any) -> Issue:
    plain = Issue(
        7,
        "Crash",
        "It crashes.",
        MONA,
        "open",
        False,
        (Label("ui"),),
        "NONE",
        "https://github.com/o/r/issues/7",
    )
    return replace(plain, **known)


def pull_request(**known: Any) -> PullRequest:
    plain = PullRequest(
        number=8,
        title="Square it",
        body="As it should be.",
        user=MONA,
        state="open",
        locked=False,
        draft=False,
        labels=(),
        author_association="CONTRIBUTOR",
        html_url="https://github.com/o/r/pull/8",
        head_sha="0123456789abcdef0123456789abcdef01234567",
        head_ref="square",
        base_ref="main",
        additions=1,
        deletions=1,
        changed_files=1,
        commits=1,
        merged=False,
    )
    return replace(plain, **known)


def event(conversation: Issue | PullRequest) -> Event:
    """The issue or pull request, just opened in octo/hello."""
    is_issue = isinstance(conversation, Issue)
    return Event(
        delivery="guid",
        name="issues" if is_issue else "pull_request",
        action="opened",
        repository=Repository(1, "octo/hello", False, None, "main", "Python"),
        sender=MONA,
        issue=conversation if isinstance(conversation, Issue) else None,
        pull_request=conversation if isinstance(conversation, PullRequest) else None,
        review=None,
        comment=None,
        workflow_run=None,
        release=None,
        payload={},
    )


def review(**known: Any) -> Review:
    plain = Review(
        501,
        ZOE,
        "changes_requested",
        "Please square the side.",
        "abcdef0123456789",
        "https://github.com/r",
    )
    return replace(plain, **known)


def review_comment(body: str = "This must be tested.", **known: Any) -> ReviewComment:
    plain = ReviewComment("area.py", "RIGHT", 2, PATCH, body, is_reply=False)
    return replace(plain, **known)


def review_event(submitted: Review, conversation: PullRequest | None = None) -> Event:
    """The review, just submitted on the pull request."""
    base = event(conversation or pull_request())
    return replace(
        base,
        name="pull_request_review",
        action="submitted",
        review=submitted,
        sender=submitted.user,
    )


def file(path: str = "area.py", patch: str | None = PATCH, **known: Any) -> ChangedFile:
    plain = ChangedFile(path, None, "modified", additions=1, deletions=1, patch=patch)
    return replace(plain, **known)


def compare(path: str, before: Sequence[str], after: Sequence[str]) -> ChangedFile:
    """Return a changed file as GitHub lists it, from its lines before and after."""
    patch = "\n".join([*unified_diff(before, after, n=3, lineterm="")][2:])
    marks = [line[:1] for line in patch.split("\n")]
    status = "modified"
    if not before:
        status = "added"
    elif not after:
        status = "removed"
    return ChangedFile(path, None, status, marks.count("+"), marks.count("-"), patch)


def count_changes(files: Sequence[ChangedFile]) -> dict[str, int]:
    """The numbers of a pull request with these changed files."""
    added, removed = sum(file.additions for file in files), sum(file.deletions for file in files)
    return {"changed_files": len(files), "additions": added, "deletions": removed}


def open_github(
    now: Issue | PullRequest, files: Sequence[ChangedFile] = (), **known: Any
) -> StandIn:
    """octo/hello with one issue or pull request; `known` as for `put_pull_request`."""
    github = StandIn(State(me=sandbox.Account(HLS.login, HLS.id, HLS.type)), "octo/hello")
    if isinstance(now, Issue):
        github.put_issue(now)
    else:
        put_pull_request(github, now, files, **known)
    return github


def put_pull_request(
    github: StandIn,
    now: PullRequest,
    files: Sequence[ChangedFile],
    *,
    threads: Sequence[ReviewThread] = (),
    head_files: Mapping[str, str] | None = None,
    base_files: Mapping[str, str] | None = None,
) -> None:
    """Create or edit a pull request with the numbers that it has, whatever its files. `head_files`
    are those of its head commit, by path.
    """
    github.put_pull_request(now, *files)
    counts = {name: getattr(now, name) for name in ("changed_files", "additions", "deletions")}
    pull = github.conversation(now.number)
    changed = replace(pull, document={**pull.document, **counts})
    github.state.change(lambda world: world.with_conversation(changed))
    github.put_threads(now.number, threads)
    github.commit(head_files or {}, now.head_sha)
    github.put_files(now.base_ref, base_files or {})


@dataclass
class RecordedJob:
    """A job with fixed facts and replies, which keeps the actions of the handler."""

    event: Event
    facts: Any
    replies: tuple[ReplyFields, ...] = ()
    rule: Rule = field(default_factory=lambda: make_rule("issues.opened"))
    conversation: Conversation | None = None
    comment: str | None = "Hello."
    variables: Mapping[str, object] = field(default_factory=dict)  # of the comment
    actions: tuple[Action, ...] = ()

    @property
    def library(self) -> Library:
        from tests.engine.world import library  # which imports this module

        return library()

    def ask_one(self, prompt: str, variables: Mapping[str, object], index: int) -> Reply:
        return analysis(*self.replies).replies[index]

    def record(self, shape: type[Facts], read: Callable[[FactSource], Facts]) -> Facts:
        facts: Facts = self.facts
        return facts

    def look_up(self, shape: type[Facts], read: Callable[[FactSource], Facts]) -> Facts | None:
        return None

    def choose(self, conversation: Conversation | None) -> None:
        self.conversation = conversation

    def comment_state(self, family: str) -> str | None:
        return None

    def remember(self, update: HistoryUpdate) -> None: ...

    def require(self, guard: Guard) -> None: ...

    def lock(self, name: str) -> None: ...

    def note(
        self,
        *,
        omitted: str = "",
        sent: str = "",
        unanswered: str = "",
        unverified: str | None = None,
    ) -> None: ...

    def report(self, problems: FileProblems) -> None: ...

    def begin_check(self, commit: str) -> None: ...

    def store_review(self, record: ReviewRecord) -> None: ...

    def render(
        self,
        replies: Replies,
        variables: Mapping[str, object],
        inline: Mapping[str, Mapping[str, object]] = NO_INLINE,
    ) -> Analysis:
        self.variables = variables
        return Analysis(replies.all, self.comment)

    def render_static(self, reply: ReplyFields, variables: Mapping[str, object]) -> Analysis:
        self.variables = variables
        return Analysis((), "Hello.")

    def write(
        self, *actions: Action, later: Sequence[Action] = (), unless: Guard = NO_GUARD
    ) -> tuple[Outcome, ...]:
        self.actions += actions
        return tuple(Outcome("review", "created", "posted") for _ in actions)

    def post(self, *actions: Action, reason: str = "", unless: Guard = NO_GUARD) -> End:
        self.write(*actions)
        return End("done", reason or "posted", posting="done")

    def post_check(self, actions: tuple[EnsureCheck, ...], reason: str) -> End:
        return End("done", reason, posting="done")


def review_rule() -> Rule:
    return replace(make_rule("pull_request.opened"), prompt="pull_requests/analyze")


def make_rule(event_key: str = "", **issues: int) -> Rule:
    """A rule of a repository whose settings name fallback issues for events:
    `make_rule(release=12)`.
    """
    entry = (
        {"name": "octo/hello", "comments": {"post_to": issues}}
        if issues
        else {"name": "octo/hello"}
    )
    effective = RepositoryTable(settings(entry)).find("octo/hello")
    assert effective is not None
    return Rule(
        event_key or next(iter(issues), "release"),
        "issues/analyze",
        effective,
        "prompts/issues/analyze.j2",
    )


def analysis(*replies: ReplyFields, comment: str | None = "Hello.") -> Analysis:
    answers = tuple(Reply("p@1", "t", reply, Usage("claude-haiku-5-5")) for reply in replies)
    return Analysis(answers, comment)


def issue_analysis(**known: Any) -> IssueAnalysis:
    plain: dict[str, Any] = {
        "worth_saying": True,
        "kind": "bug",
        "priority": "high",
        "difficulty": "easy",
        "component": "backend",
        "field_confidence": None,
        "summary": "It crashes.",
        "missing": [],
        "recommended_response": "",
        "suggested_labels": [],
        "sources": [],
        "same_as": None,
    }
    return IssueAnalysis.model_validate({**plain, **known})


def issue_response(**known: Any) -> IssueResponse:
    return IssueResponse.model_validate(
        {"worth_saying": True, "sources": [], "answer": "42", "certain": True, **known}
    )


def review_analysis(*requests: ReviewRequest, **known: Any) -> ReviewAnalysis:
    return ReviewAnalysis.model_validate(
        {"worth_saying": True, "summary": "Square it.", "requests": list(requests), **known}
    )


def request(quote: str, **known: Any) -> ReviewRequest:
    return ReviewRequest.model_validate(
        {"comment": None, "quote": quote, "todo": "Do it.", "blocking": True, **known}
    )


def pull_request_analysis(**known: Any) -> PullRequestAnalysis:
    plain: dict[str, Any] = {
        "type": "bug-fix",
        "summary": "Squares.",
        "earlier": [],
        "findings": [],
        "suggested_labels": [],
    }
    return PullRequestAnalysis.model_validate({**plain, **known})


def finding(**known: Any) -> Finding:
    """A finding about line 2 of the new file in `PATCH`."""
    plain: dict[str, Any] = {
        "path": "area.py",
        "side": "RIGHT",
        "start_line": None,
        "line": 2,
        "quote": "return side ** 2",
        "severity": "high",
        "category": "bugs",
        "confidence": 0.9,
        "title": "Wrong",
        "body": "It is wrong.",
        "suggestion": None,
        "continues": None,
        "rests_on": [],
        "look_up": [],
    }
    return Finding.model_validate({**plain, **known})


def select(
    *files: ChangedFile,
    tokens: int = 100_000,
    reviewed: Mapping[str, Sequence[Block]] | None = None,
    max_calls: int = 30,
    ignored_paths: PathFilter = EMPTY_PATH_FILTER,
    attributes: LinguistAttributes | None = NO_ATTRIBUTES,
) -> Selection:
    """The selection of files for a review. `reviewed` are blocks that an earlier review has
    read.
    """
    patches = {file.path: redact_patch(number_patch(file.patch)) for file in files if file.patch}
    new = find_present(files, patches, 0, NO_REVIEW).find_new(reviewed or {})
    rules = SkipRules(ignored_paths, attributes)
    return select_files(files, patches, rules, new=new, tokens=tokens, max_calls=max_calls)


def gather_review(
    *files: ChangedFile,
    tokens: int = 10_000,
    record: ReviewRecord = NO_REVIEW,
    limits: Mapping[str, Any] | None = None,
    **known: Any,
) -> PullRequestFacts:
    """The facts of a review of the files. The findings in `record` have review threads without an
    answer.
    """
    now = pull_request(**{**count_changes(files), **known})
    threads = tuple(
        ReviewThread(901, entry.key, False, None, (), (), (), ()) for entry in record.ledger
    )
    given = PromptLimits(tokens, **{"is_review": True, **(limits or {})})
    reader = open_github(now, files, threads=threads).reader("octo/hello")
    history = EmptyHistory(reviewed=record)
    return pull_requests.gather(FactSource(event(pull_request()), reader, history, given))

"""A pull request that is pushed to and reviewed, with Claude's replies given by the test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha1
from typing import Any, Literal

from hls_handler.actions import (
    Action,
    Annotation,
    EnsureCheck,
    EnsureReply,
    EnsureReview,
    InlineComment,
    Outcome,
)
from hls_handler.analysis import (
    Analysis,
    EarlierVerdict,
    Finding,
    FindingVerdict,
    FindingVerdicts,
    NeededFact,
    Receipt,
    Reply,
    ReplyFields,
    Usage,
    Verdict,
)
from hls_handler.deliveries import End
from hls_handler.errors import BudgetExceeded, Permanent
from hls_handler.events import REQUEST_KEY, Event, RequestedReview
from hls_handler.github.values import ChangedFile, ReviewThread
from hls_handler.handlers import pull_requests
from hls_handler.handlers.job import (
    NO_GUARD,
    NO_INLINE,
    VERIFY_PROMPT,
    FactSource,
    Guard,
    PromptLimits,
    Replies,
)
from hls_handler.handlers.pull_requests import PullRequestHandler
from hls_handler.handlers.reader import EmptyHistory
from hls_handler.review.record import (
    NO_REVIEW,
    LedgerEntry,
    ReviewRecord,
    dump_entry,
    dump_record,
    parse_record,
)
from hls_handler.review.variables import ShownFinding
from hls_handler.routing import Rule
from hls_handler.settings.path_globs import PathFilter
from hls_handler.settings.sections import ReviewSettings
from tests.engine.stand_in import StandIn
from tests.engine.world import library
from tests.handlers.world import (
    RecordedJob,
    compare,
    count_changes,
    event,
    finding,
    open_github,
    pull_request,
    pull_request_analysis,
    put_pull_request,
    review_rule,
)

HANDLER = PullRequestHandler()

Ask = Callable[[str, Mapping[str, object]], ReplyFields]
"""Returns Claude's reply to a prompt, from its template variables."""


@dataclass
class ReviewJob(RecordedJob):
    """The job of a review whose questions a function answers. It keeps what would be posted and
    stored.
    """

    rule: Rule = field(default_factory=review_rule)
    reply_to: Ask = lambda _name, _variables: pull_request_analysis()
    first_id: int = 100  # of the review comments
    calls: int = 0
    stored: ReviewRecord | None = None

    def ask_one(self, prompt: str, variables: Mapping[str, object], index: int) -> Reply:
        self.calls += 1
        reply = self.reply_to(prompt, variables)
        return Reply(f"{prompt}@1", library().prompts[prompt].reply, reply, Usage("m"))

    def render(
        self,
        replies: Replies,
        variables: Mapping[str, object],
        inline: Mapping[str, Mapping[str, object]] = NO_INLINE,
    ) -> Analysis:
        shown = {key: one["finding"] for key, one in inline.items()}
        texts = {
            key: f"{one.title}\n{one.body}"
            for key, one in shown.items()
            if isinstance(one, ShownFinding)
        }
        return Analysis(replies.all, "comment", inline=texts, receipt=Receipt(self.calls))

    @property
    def posted(self) -> Mapping[int, InlineComment]:
        """The review comments by their ids."""
        reviews = [action for action in self.actions if isinstance(action, EnsureReview)]
        return dict(
            enumerate((comment for one in reviews for comment in one.comments), start=self.first_id)
        )

    def write(
        self, *actions: Action, later: Sequence[Action] = (), unless: Guard = NO_GUARD
    ) -> tuple[Outcome, ...]:
        self.actions = (*self.actions, *actions)
        ids = {comment.key: number for number, comment in self.posted.items()}
        return tuple(Outcome("review", "created", "posted", comment_ids=ids) for _ in actions)

    def post(self, *actions: Action, reason: str = "", unless: Guard = NO_GUARD) -> End:
        self.actions = (*self.actions, *actions)
        return End("done", "posted", posting="done")

    def post_check(self, actions: tuple[EnsureCheck, ...], reason: str) -> End:
        self.actions = actions
        return End("done", reason, posting="done")

    def store_review(self, record: ReviewRecord) -> None:
        self.stored = parse_record(dump_record(record), map(dump_entry, record.ledger))


@dataclass(kw_only=True)
class Reviewed:
    """What the reviews of one pull request left on GitHub and in the database."""

    record: ReviewRecord = NO_REVIEW
    threads: Sequence[ReviewThread] = ()
    next_id: int = 100
    writers: Sequence[str] = ("mona",)  # mona is the author, too
    github: StandIn = field(default_factory=lambda: open_github(pull_request()))
    unreadable: Collection[str] = ()  # paths of the head that are not read

    def review(
        self,
        received: Event,
        files: Sequence[ChangedFile],
        limits: PromptLimits,
        reply_to: Ask,
        head_files: Mapping[str, str] | None = None,
    ) -> ReviewJob:
        """Review the pull request of an event. Raises what `run` raises."""
        now = received.pull_request
        assert now is not None
        for login in self.writers:
            self.github.permit(login, "write")
        put_pull_request(self.github, now, files, threads=self.threads, head_files=head_files)
        self.github.calls.clear()
        reader = self.github.reader("octo/hello")
        facts = pull_requests.gather(
            FactSource(received, reader, EmptyHistory(reviewed=self.record), limits)
        )
        job = ReviewJob(received, facts, reply_to=reply_to, first_id=self.next_id)
        HANDLER.run(job)
        self.record = job.stored or self.record
        replies = {
            one.comment_id: (one.key,) for one in job.actions if isinstance(one, EnsureReply)
        }
        answered = [
            replace(one, own_replies=(*one.own_replies, *replies.get(one.comment_id, ())))
            for one in self.threads
        ]
        opened = [
            ReviewThread(at, one.key, False, None, (), (), (), (), one.line)
            for at, one in job.posted.items()
        ]
        self.threads, self.next_id = (*answered, *opened), self.next_id + len(opened)
        return job


def found(path: str, line: int, quote: str, **known: object) -> Finding:
    return finding(
        **{
            "path": path,
            "line": line,
            "quote": quote,
            "category": "security",
            "severity": "high",
            **known,
        }
    )


def said(
    number: int, verdict: Verdict, path: str | None = None, line: int | None = None, quote: str = ""
) -> EarlierVerdict:
    severity = "high" if verdict == "present" else None
    return EarlierVerdict(
        number=number, path=path, line=line, quote=quote, verdict=verdict, severity=severity
    )


@dataclass
class Pushes(Reviewed):
    """One pull request. `base` and heads map paths to texts; a file of the base that a head lacks
    is unchanged.
    """

    base: Mapping[str, str] = field(default_factory=dict)
    ignored: Sequence[str] = ()
    omitted: Sequence[str] = ()  # paths of files whose patch GitHub leaves out
    number: int = 0
    job: ReviewJob = field(init=False)  # of the last review
    calls: int = 0
    looks: int = 0  # second looks of the last review
    comments: list[tuple[str, int]] = field(default_factory=list)
    shown: Mapping[str, Any] = field(default_factory=dict)  # variables of the last prompt

    def push(
        self,
        head: Mapping[str, str],
        *,
        findings: Sequence[Finding] = (),
        verdicts: Sequence[EarlierVerdict] = (),
        agrees: bool = True,
        is_down: bool = False,
        base: Mapping[str, str] | None = None,
        requested: RequestedReview | None = None,
        deleted: Collection[str] = (),
        has_look: bool = True,
        unseen: str = "",
    ) -> str | None:
        """Push and review; return the conclusion of the check. `is_down`: no call is made.

        `requested` is a review that a person requested. `deleted` are paths of the base that the
        head lacks. `has_look`: whether the second look gets an answer. `unseen` is what it says was
        not shown.
        """

        def reply_to(name: str, variables: Mapping[str, object]) -> ReplyFields:
            if is_down:
                raise BudgetExceeded("2 USD are spent")
            if name == VERIFY_PROMPT:
                self.looks += 1
                if not has_look:
                    raise Permanent("Claude gave no usable reply")
                return _look(variables["candidates"], agrees=agrees, unseen=unseen)
            self.calls += 1
            self.shown = variables
            return pull_request_analysis(findings=list(findings), earlier=list(verdicts))

        self.base = self.base if base is None else base
        self.looks = 0
        self.number += 1
        files = self._list_files({**head, **dict.fromkeys(deleted, "")}, deleted)
        hidden = {*deleted, *self.unreadable}
        texts = {path: text for path, text in {**self.base, **head}.items() if path not in hidden}
        now = pull_request(
            head_sha=f"{self.number:07x}".ljust(40, "0"),
            review_comments=len(self.threads),
            **count_changes(files),
        )
        limits = PromptLimits(
            20_000,
            PathFilter(tuple(self.ignored)),
            is_review=True,
            review=ReviewSettings(fail_on="high"),
        )
        received = replace(event(now), action="synchronize")
        if requested is not None:
            received = replace(
                received, payload={**received.payload, REQUEST_KEY: {"review": requested}}
            )
        self.job = self.review(received, files, limits, reply_to, head_files=texts)
        self.comments += [(one.path, one.line) for one in self.job.posted.values()]
        return next((one.conclusion for one in self._checks), None)

    @property
    def _checks(self) -> Sequence[EnsureCheck]:
        return [one for one in self.job.actions if isinstance(one, EnsureCheck)]

    @property
    def annotations(self) -> Sequence[Annotation]:
        return [annotation for check in self._checks for annotation in check.annotations]

    @property
    def summary(self) -> str:
        """That of the check."""
        return "\n".join(check.summary for check in self._checks)

    @property
    def questions(self) -> Sequence[int]:
        """The numbers of the findings that the last review asked about."""
        return [*self.job.facts.questions]

    @property
    def replies(self) -> Sequence[str]:
        """The replies of the last review in review threads."""
        return [one.body for one in self.job.actions if isinstance(one, EnsureReply)]

    def act(self, **known: Any) -> None:
        """Let people act in the first review thread; `known` are fields of `ReviewThread`."""
        self.threads = (replace(self.threads[0], **known), *self.threads[1:])

    def command(self, key: str, number: int = 1) -> None:
        """Store a command about a finding, as the next review reads it."""
        ledger = [
            replace(one, dismissals=(*one.dismissals, key)) if one.number == number else one
            for one in self.record.ledger
        ]
        self.record = replace(self.record, ledger=tuple(ledger))

    def entry(self, number: int) -> LedgerEntry:
        return next(one for one in self.record.ledger if one.number == number)

    def _list_files(self, head: Mapping[str, str], deleted: Collection[str]) -> list[ChangedFile]:
        files: list[ChangedFile] = []
        for path, text in head.items():
            old = self.base[path].split("\n") if path in self.base else []
            file = compare(path, old, [] if path in deleted else text.split("\n"))
            shown = None if path in self.omitted else file.patch
            if file.patch:
                files.append(replace(file, patch=shown, sha=sha1(text.encode()).hexdigest()))
        return files


def _look(candidates: Any, *, agrees: bool, unseen: str) -> FindingVerdicts:
    verdicts = []
    for one in candidates:
        lines = [line[9:] for line in one.code.split("\n")[1:]]  # without side, number and mark
        shown = [one.quote, *lines]
        quote = next((line for line in shown if line.strip()), "") if agrees else ""
        state: Literal["proved", "not shown"] = "proved" if agrees else "not shown"
        fact = NeededFact(fact="it", state=state, quote=quote, is_decisive=True)
        verdicts.append(
            FindingVerdict(number=one.number, facts=[fact], unseen=unseen, agrees=agrees)
        )
    return FindingVerdicts(verdicts=verdicts)

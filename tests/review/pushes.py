"""A pull request that is pushed to and reviewed, with Claude's replies given by the test."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha1

from hls_handler.actions import Action, EnsureCheck, EnsureReply, EnsureReview
from hls_handler.analysis import (
    Analysis,
    EarlierVerdict,
    Finding,
    FindingVerdict,
    FindingVerdicts,
    NeededFact,
    Usage,
    ValidReply,
    Verdict,
)
from hls_handler.handlers.finding_views import apply_second_look
from hls_handler.handlers.handler import PromptLimits
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.pull_requests import PullRequestHandler
from hls_handler.handlers.reader import ChangedFile, EmptyHistory
from hls_handler.review.record import NO_REVIEW, LedgerEntry, ReviewRecord, ReviewThread
from hls_handler.settings.model import Review
from hls_handler.settings.values import PathFilter
from tests.handlers.world import FakeReader, count_changes, event, finding, pull_request, pull_request_analysis

HANDLER = PullRequestHandler()


def found(path: str, line: int, quote: str, **known: object) -> Finding:
    return finding(**{"path": path, "line": line, "quote": quote, "category": "security", "severity": "high", **known})


def said(
    number: int, verdict: Verdict, path: str | None = None, line: int | None = None, quote: str = ""
) -> EarlierVerdict:
    severity = "high" if verdict == "present" else None
    return EarlierVerdict(number=number, path=path, line=line, quote=quote, verdict=verdict, severity=severity)


@dataclass
class Pushes:
    """One pull request. `base` and heads map paths to texts; a file of the base that a head lacks is unchanged."""

    base: Mapping[str, str]
    record: ReviewRecord = NO_REVIEW
    threads: Sequence[ReviewThread] = ()
    ignored: Sequence[str] = ()
    is_verified: bool = True
    max_inline: int = 8
    fail_on: str | None = "high"
    renamed: Mapping[str, str] = field(default_factory=dict)
    number: int = 0
    facts: PullRequestFacts | None = None
    actions: Sequence[Action] = ()
    calls: int = 0
    comments: list[tuple[str, int]] = field(default_factory=list)

    def push(
        self,
        head: Mapping[str, str],
        *,
        findings: Sequence[Finding] = (),
        verdicts: Sequence[EarlierVerdict] = (),
        agrees: bool = True,
        is_down: bool = False,
        base: Mapping[str, str] | None = None,
    ) -> str | None:
        """Push and review; return the conclusion of the check. `is_down`: Claude gives no usable reply."""
        self.base = self.base if base is None else base
        self.number += 1
        files = self._list_files(head)
        now = pull_request(head_sha=f"{self.number:07x}".ljust(40, "0"), **count_changes(files))
        history = EmptyHistory(reviewed=self.record)
        reader = FakeReader(now, tuple(files), review_threads=tuple(self.threads), permissions={"mona": "write"})
        limits = PromptLimits(
            20_000,
            ignored_paths=PathFilter(tuple(self.ignored)),
            is_review=True,
            review=Review.model_validate(
                {"check": True, "fail_on": self.fail_on, "verify": self.is_verified, "max_inline": self.max_inline}
            ),
        )
        facts = HANDLER.gather(replace(event(now), action="synchronize"), reader, history, limits)
        self.facts = facts
        answers: tuple[ValidReply, ...] = ()
        if HANDLER.skip_reason(facts) is None:
            self.calls += len(facts.selection.calls)
            if is_down:
                facts = replace(facts, unanswered=dict.fromkeys(range(len(facts.selection.calls)), "no reply"))
            else:
                reply = pull_request_analysis(findings=list(findings), earlier=list(verdicts))
                asked = HANDLER.verification_variables(facts, reply)
                if asked is not None:
                    facts = apply_second_look(facts.with_reply(reply), _look(asked, agrees=agrees))
                answers = (ValidReply("pull_requests/analyze@1", "pull_request_analysis", reply, Usage("m")),)
        inline = {key: "text" for answer in answers for key in HANDLER.inline_findings(facts, answer.reply)}
        analysis = Analysis(answers, "comment", inline=inline)
        self.actions = HANDLER.plan(event(now), facts, analysis)
        posted = [one for action in self.actions if isinstance(action, EnsureReview) for one in action.comments]
        ids = {one.key: 100 + len(self.comments) + index for index, one in enumerate(posted)}
        self.comments += [(one.path, one.line) for one in posted]
        self.facts, record = HANDLER.after_review(facts, analysis, comment_ids=ids, rejected=())
        assert record is not None
        self.record = record
        known = {thread.key for thread in self.threads}
        self.threads = (*self.threads, *(_thread(key, ids[key]) for key in ids if key not in known))
        return self.conclusion

    @property
    def conclusion(self) -> str | None:
        return next((one.conclusion for one in self.actions if isinstance(one, EnsureCheck)), None)

    @property
    def replies(self) -> list[str]:
        return [one.body for one in self.actions if isinstance(one, EnsureReply)]

    def entry(self, number: int) -> LedgerEntry:
        return next(one for one in self.record.ledger if one.number == number)

    def _list_files(self, head: Mapping[str, str]) -> list[ChangedFile]:
        files: list[ChangedFile] = []
        for path, text in head.items():
            previous = self.renamed.get(path)
            old, new = self.base.get(previous or path, "").split("\n"), text.split("\n")
            old = [] if (previous or path) not in self.base else old
            lines = list(difflib.unified_diff(old, new, n=3, lineterm=""))[2:]
            added = sum(line.startswith("+") for line in lines)
            status = "renamed" if previous else "modified" if path in self.base else "added"
            patch = "\n".join(lines) or None
            if patch or previous:
                sha = sha1(text.encode()).hexdigest()
                files.append(ChangedFile(path, previous, status, added, sum(x[0] == "-" for x in lines), patch, sha))
        return files


def _look(asked: Mapping[str, object], *, agrees: bool) -> FindingVerdicts:
    candidates = asked["candidates"]
    assert isinstance(candidates, tuple)
    verdicts = []
    for one in candidates:
        lines = [line[9:] for line in one.code.split("\n")[1:]]  # without side, number and mark
        quote = next((line for line in lines if line.strip()), "") if agrees else "not shown"
        fact = NeededFact(fact="it", quote=quote, is_decisive=True)
        verdicts.append(FindingVerdict(number=one.number, facts=[fact], agrees=agrees))
    return FindingVerdicts(verdicts=verdicts)


def _thread(key: str, comment_id: int) -> ReviewThread:
    return ReviewThread(
        comment_id,
        key,
        is_resolved=False,
        resolved_by=None,
        replies=(),
        own_replies=(),
        thumbs_up=(),
        thumbs_down=(),
    )

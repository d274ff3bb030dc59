"""Sends generated pull requests through the whole pipeline, with an unreliable reviewer, and checks every result."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, get_args
from zlib import crc32

from hls_handler.actions import EnsureReview, Outcome
from hls_handler.analysis import (
    Finding,
    FindingVerdict,
    FindingVerdicts,
    PullRequestAnalysis,
    Severity,
    Unusable,
    UnusableReply,
    Usage,
    ValidReply,
)
from hls_handler.deliveries import NewDelivery
from hls_handler.errors import DependencyDown
from hls_handler.events import parse_event
from hls_handler.handlers.changed_files import cover
from hls_handler.handlers.pull_requests import PullRequestHandler
from hls_handler.handlers.reader import ChangedFile
from hls_handler.history.repositories import StoredHistory
from hls_handler.prompting import recorded
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.review.patches import parse_patch
from hls_handler.review.record import ReviewThread, ThreadReply
from hls_handler.sandbox.reading import PatchOfFile, read_request
from hls_handler.work.asking import NO_BUDGET
from hls_handler.work.commit_checks import CheckEnder
from hls_handler.work.job import GATHER, facts_codec
from hls_handler.work.runner import run_delivery
from tests.handlers.world import count_changes
from tests.rounds.generated import DiffLine, GeneratedPullRequest, Side, SourceLine, Version
from tests.work.fakes import CLAUDE_DOWN, GITHUB_DOWN, FakeClaude, FakeGithub, FakeWriter
from tests.work.world import World, open_world, settings

REPOSITORY_ID = 186853002
CATEGORIES = ("bugs", "security", "performance", "style")
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")
UNUSABLE: tuple[Unusable, ...] = get_args(Unusable)
TITLES = ("Wrong value", "The result is lost", "This overflows", "Computed twice")
DISMISSALS = ("thumbs down", "resolved", "won't fix")
WRITER, READER = "mona", "guest"
"""Logins of people with and without write permission."""
FAILS, MAY_FAIL = "It fails for x = {} in {}.", "It may fail for y = {} in {}."
"""Texts of findings, with a number and the line. The second look refutes those that have only the second one.

It refutes an earlier finding if the line is not shown.
"""
NO_REPLY = DependencyDown("no answer", dependency="claude", remedy="wait", may_have_succeeded=True)
NO_RESPONSE = DependencyDown("no answer", dependency="github", remedy="wait", may_have_succeeded=True)
BUDGETS = (
    {"max_usd": 0.000001},
    {"max_usd": 0.08},
    {"max_usd": 0.14},
    {"max_usd_per_pull_request": 0.2},
)
"""`review` of some pull requests. A call costs 0.02 USD, and at most 0.05."""
CUTS = ("no patch", "shortened", "unlisted")
"""Ways in which GitHub's list of files can be incomplete."""


def visible(text: str) -> str:
    """Return the letters, digits and underscores of a line: prompts have no invisible characters."""
    return re.sub(r"\W", "", text)


class Killed(BaseException):
    """The worker's process ends."""


@dataclass
class Totals:
    """Counts of all generated pull requests."""

    pull_requests: int = 0
    deliveries: int = 0
    calls: int = 0
    earlier_verified: int = 0  # findings of earlier reviews about which Claude was asked again
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)  # by kind, without kills
    dead: int = 0  # deliveries that failed for good
    superseded: int = 0  # deliveries that a push during the review made unnecessary
    comments: int = 0
    late_rounds: int = 0  # reviews from the third on that asked Claude, and in which no defect is new or was moved
    late_findings: int = 0  # those of them with a new comment
    calls_beside_the_base: int = 0  # reviews that asked Claude because the base changed beside a change
    incomplete: int = 0  # reviews that ended with a part of the changes
    successes: int = 0  # checks
    failures: int = 0  # checks that fail because of a finding
    errors: Counter[str] = field(default_factory=Counter)  # see `ERRORS`
    problems: list[str] = field(default_factory=list)

    def add(self, error: str, where: str) -> None:
        assert error in ERRORS, error
        self.errors[error] += 1
        self.problems.append(f"{error}: {where}")

    @property
    def is_wrong(self) -> bool:
        """True if a review was wrong, or if more than 5 % of the late rounds had a new finding."""
        return bool(self.problems or self.late_findings > 0.05 * max(self.late_rounds, 60))


ERRORS = {
    "rejected position": "GitHub would reject the position of a comment",
    "repeated": "a comment about a line that has one of the same category, and that was not moved elsewhere",
    "raised after a dismissal": "the same, about a line whose comment a person dismissed",
    "raised on unchanged lines": "after the first review; in the second one, unless it is critical",
    "raised although refuted": "the second look refuted the finding",
    "idle call": "Claude was asked although neither the changes nor the lines beside them are new",
    "unread success": "the check is a success, and Claude was not shown a changed line in its present function",
    "missed failure": "the check does not fail, though a reported severe defect is present, and no writer dismissed it",
    "unjustified failure": "the check fails, though no line with a reported severe finding is present",
    "wrong coverage": "the coverage does not add up to the changed files",
    "open check": "the check did not end",
    "other": "a result that cannot be",
}
"""Errors of a review, each of which must not occur."""


class UnreliableReviewer(FakeClaude):
    """Reports most defects that it sees, often with a wrong line, other words or an invented quote.

    It also reports what is fine: what the second look refutes, and severe things on lines that were reviewed before.
    """

    simulation: Simulation

    random: Random  # of the simulation

    def __init__(self, totals: Totals, *, faults: float) -> None:
        super().__init__([])
        self.totals, self.faults, self.calls, self.findings = totals, faults, 0, 0

    def ask(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> ValidReply | UnusableReply:
        self.calls += 1
        self.simulation.maybe_push()
        usage = Usage("claude-haiku-5-5", input_tokens=900, output_tokens=100, cost_usd=0.02)
        if self.random.random() < self.faults:
            return self._fail(rendered, usage)
        name = rendered.prompt.name
        reply = self._verdicts(rendered.task) if name == "pull_requests/verify" else self._review(rendered.task)
        return ValidReply(rendered.prompt.id, rendered.prompt.reply, reply, usage)

    def _fail(self, rendered: RenderedPrompt, usage: Usage) -> UnusableReply:
        if rendered.prompt.name == "pull_requests/verify":  # then all findings are kept
            self.simulation.running_now.refuted.clear()
        if self.random.random() < 0.3:
            error = self.random.choice((CLAUDE_DOWN, NO_REPLY))
            self.totals.faults[f"Claude: {error}"] += 1
            raise error
        why: Unusable = self.random.choice(UNUSABLE)
        self.totals.faults[why] += 1
        return UnusableReply(rendered.prompt.id, why, "it cannot be used", "{", usage)

    def _verdicts(self, task: str) -> FindingVerdicts:
        sections = re.split(r"^Finding \d+", task, flags=re.MULTILINE)[1:]
        verdicts = []
        for number, section in enumerate(sections, start=1):
            if section.startswith(" (earlier)"):
                self.totals.earlier_verified += 1
                shown = {visible(text) for text in re.findall(r"^[RL] +\d+ . ?(.*)$", section, re.MULTILINE)}
                first, *others = re.findall(r"\d in (\w*)\.", section)  # the text of a repeated finding is added
                severe = {visible(text) for text in self.simulation.severe}
                is_refuted = shown.isdisjoint({first, *(one for one in others if one in severe)})
            else:
                is_refuted = "may fail for y" in section and "fails for x" not in section
                numbers = re.findall(r"y = (\d+)", section) if is_refuted else ()
                self.simulation.running_now.refuted.update(numbers)
            verdicts.append(FindingVerdict(number=number, is_refuted=is_refuted))
        return FindingVerdicts(worth_saying=False, verdicts=verdicts)

    def _review(self, task: str) -> PullRequestAnalysis:
        reading = read_request({"messages": [{"role": "user", "content": task}]})
        found = [finding for patch in reading.patches for finding in self._findings(patch)]
        return PullRequestAnalysis(
            worth_saying=bool(found),
            type="feature",
            summary="It changes some values.",
            findings=found[:50],
            suggested_labels=[],
        )

    def _findings(self, patch: PatchOfFile) -> list[Finding]:
        shown: list[DiffLine] = []
        for line in patch.lines:
            one = self.simulation.version.diffs[patch.path].lines.get((line.side, line.number))
            if one is None or one.mark != line.mark or visible(one.line.text) != visible(line.text):
                self.totals.add("other", f"the prompt shows {patch.path} {line}, the pull request has {one}")
                continue
            shown.append(one)
        self.simulation.show(shown)
        found = [
            self._finding(one, FAILS, one.line.severity)
            for one in shown
            if one.line.severity and one.mark != "-" and self.random.random() < 0.9
        ]
        if shown and self.random.random() < 0.3:  # something that is fine
            found.append(self._finding(self.random.choice(shown), MAY_FAIL, self.random.choice(SEVERITIES)))
        settled = [one for one in shown if self.simulation.is_settled(one)]
        if settled and self.random.random() < 0.5:  # something that may be wrong, and too late
            found.append(self._finding(self.random.choice(settled), FAILS, self.random.choice(SEVERITIES)))
        return found

    def _finding(self, one: DiffLine, body: str, severity: Severity) -> Finding:
        self.findings += 1
        version = self.simulation.version
        position = next(at for at, other in version.diffs[one.path].lines.items() if other is one)
        side, line = position
        moved = self.random.choice((0, 0, 0, 0, 1, -2, 7, 40))
        is_exact = not moved and self.random.random() < 0.8
        text = one.line.text.removesuffix("\n")
        self.simulation.report(one, severity, is_exact=is_exact and body is FAILS)  # the others can be refuted
        number = max(line + moved, 1)
        invented = not is_exact and self.random.random() < 0.2
        return Finding(
            path=one.path if is_exact or self.random.random() < 0.9 else "src/elsewhere.py",
            side=side if is_exact or self.random.random() < 0.8 else "LEFT",
            start_line=self.random.choice((None, None, max(number - self.random.randint(0, 9), 1), number + 3)),
            line=number,
            quote="invented = code" if invented else text[:1000],
            severity=severity,
            category=CATEGORIES[len(text) % 4],
            confidence=0.9,
            title=self.random.choice(TITLES),
            body=body.format(self.findings, visible(text)),
            suggestion=self.random.choice((None, "    fixed = 1", "", "a\nb")),
        )


@dataclass
class CheckingGithub(FakeGithub):
    """A GitHub that checks the position of every review comment against the files themselves."""

    simulation: Simulation | None = None

    def writer(self, *args: Any, **known: Any) -> FakeWriter:
        made = super().writer(*args, **known)
        assert self.simulation is not None
        return CheckingWriter(self, made.history, made.before_write, made.dry_run, self.simulation)


@dataclass
class CheckingWriter(FakeWriter):
    simulation: Simulation

    def ensure_review(self, number: int, action: EnsureReview, *, is_retry: bool = False) -> Outcome:
        before = len(self.github.reviews_posted)
        try:
            return super().ensure_review(number, action, is_retry=is_retry)
        finally:  # also if the response is lost
            posted = {key for keys in self.github.reviews_posted[before:] for key in keys}
            self.simulation.post([comment for comment in action.comments if comment.key in posted])


@dataclass
class Running:
    """One delivery."""

    guid: str
    version: Version  # of the event; then the one whose files were read
    rounds: int | None = None  # before it
    calls: int = 0
    comments: int = 0
    keys: set[str] = field(default_factory=set)  # of its review comments
    refuted: set[str] = field(default_factory=set)  # numbers of findings
    reported: list[tuple[SourceLine, str]] = field(default_factory=list)  # severe defects that it must raise, places


class Simulation:
    """One pull request, from its first review to its last."""

    def __init__(
        self, world: World, random: Random, number: int, totals: Totals, *, kills: float, faults: float
    ) -> None:
        self.random, self.number, self.totals = random, number, totals
        self.kills, self.faults = kills, faults
        self.cut = random.choice((*CUTS, *[None] * 9))
        given = world.settings
        review: dict[str, object] = {"fail_on": random.choice(("high", "high", None))}
        if random.random() < faults * 3:
            review |= random.choice(BUDGETS)
        given = given.model_copy(update={"review": given.review.model_copy(update=review)})
        if random.random() < 0.3:  # several calls for one review
            given = given.model_copy(update={"claude": given.claude.model_copy(update={"input_tokens": 400})})
        self.world = replace(world, settings=given)
        self.fail_on = given.review.fail_on
        self.made = GeneratedPullRequest(random, f"{number:020x}")
        self.present = self.made.save()
        self.posted: dict[tuple[SourceLine, str], str] = {}  # (line, category) -> key
        self.lines: dict[str, DiffLine] = {}  # by key of a comment
        self.quotes: dict[tuple[SourceLine, str], list[SourceLine]] = {}  # the lines of the last finding, likewise
        self.dismissed: set[str] = set()  # keys
        self.shown: dict[tuple[str, str, str], set[SourceLine]] = {}  # by mark, text and place
        self.severe: set[str] = set()  # texts of lines that a severe finding is about
        self.must_fail: dict[SourceLine, str] = {}  # the defects that were raised, with their places
        self.exempt: set[tuple[str, str]] = set()  # texts and places of the lines that writers dismissed
        self.resolved: dict[str, DiffLine] = {}  # by writers, since the last review
        self.running: dict[str, Running] = {}
        self.events = 0
        self.changes = ["add lines"]  # since the last review
        self.reviewed: Version | None = None  # by the last review
        self.is_complete = False  # it has all its replies
        self.now: Running | None = None  # the delivery that the worker executes
        self.github, self.reviewer = world.github, world.claude
        assert isinstance(self.reviewer, UnreliableReviewer)
        self.reviewer.simulation, self.reviewer.random = self, random
        totals.pull_requests += 1

    @property
    def running_now(self) -> Running:
        assert self.now is not None
        return self.now

    @property
    def version(self) -> Version:
        """The version that the present delivery read."""
        return self.running_now.version

    def run(self, pushes: int) -> None:
        self.announce("opened")
        self.work()
        for _ in range(pushes):
            self.dismiss()
            self.push(self.random.choice((1, 1, 1, 2)))
            self.work()

    def push(self, changes: int) -> None:
        before = self.present
        self.changes += [self.made.change() for _ in range(changes)]
        if self.random.random() < 0.3:
            self.resolve_fixed()
        is_new = self.made.save() is not before
        self.announce(self.random.choice(("synchronize",) * 6 + ("reopened",)) if is_new else "edited")

    def announce(self, action: str) -> None:
        """Send one event about the present version."""
        self.events += 1
        self.present = version = self.made.save()
        guid = f"{self.number}-{self.events}-{action}"
        payload: Any = json.loads(recorded.load("pull_request.opened").body)
        shown = payload["pull_request"]
        payload |= {"action": action, "number": self.number, "changes": {"title": {"from": "Before"}}}
        shown |= {"number": self.number, "state": "open", **count_changes(version.files)}
        shown["head"]["sha"] = version.sha
        body = json.dumps(payload).encode()
        event = parse_event("pull_request", guid, body)
        assert event.pull_request is not None
        self.github.pull_requests[self.number] = event.pull_request
        self.github.changed[self.number] = self.listed(version)
        for path, lines in version.head.items():
            self.github.head_files[f"{version.sha}:{path}"] = "".join(line.text for line in lines)
        known = {"repository_id": REPOSITORY_ID, "repository": "Codertocat/Hello-World", "number": self.number}
        delivery = NewDelivery(
            guid=guid,
            event="pull_request",
            action=action,
            request_id="r",
            state="queued",
            head_sha=version.sha,
            digest=guid.encode(),
            body=body,
            **known,  # type: ignore[arg-type]
        )
        self.running[guid] = Running(guid, version)
        self.world.store.queue.accept([delivery], replay_window_h=72)
        self.totals.deliveries += 1

    def maybe_push(self) -> None:
        """Let the author push while Claude is asked, sometimes."""
        if self.random.random() < 0.03:
            self.push(1)

    def work(self) -> None:
        """Run the deliveries to their end, also if the worker is killed or Claude fails."""
        for _ in range(60):
            lease = self.world.claim()
            if lease is None:
                self.world.advance(400)
                self._end_superseded()
                if not self.running:
                    return
                continue
            self.now = self.running[lease.guid]
            if self.now.rounds is None:
                self.now.rounds = self._record().rounds
            calls = self._calls()
            self._arm()
            try:
                finished = run_delivery(lease, self.world.tools())
            except Killed:
                self.totals.kills += 1
                self.world.advance(100)
                continue
            finally:
                self._disarm()
                self.now.calls += self._calls() - calls
            if finished is not None:
                self._finish(finished.state)
            else:
                self.world.advance(400)
        self.totals.add("other", f"{sorted(self.running)} did not end")
        self.running.clear()

    def _end_superseded(self) -> None:
        """Remove the deliveries that ended in the queue."""
        for guid in [*self.running]:
            row = self.world.store.deliveries.find(guid)
            if row is not None and row.state not in ("queued", "leased", "running"):
                self.now = self.running[guid]
                self._finish(row.state)

    def _finish(self, state: str) -> None:
        assert self.now is not None
        now = self.now
        del self.running[now.guid]
        self.totals.calls += now.calls
        self.totals.superseded += state == "superseded"
        self.totals.dead += state == "dead"
        if state != "done":
            self._check_commit(now, state)
            return
        self.github.review_threads_of[self.number] = tuple(
            replace(thread, own_replies=tuple(key for id_, key in self.github.replies if id_ == thread.comment_id))
            for thread in self.github.review_threads_of.get(self.number, ())
        )
        self._check_rounds(now)
        for key, one in self.resolved.items():
            text, marks = one.line.text, now.version.marks
            before = self.reviewed.changed if self.reviewed is not None else ()
            was_back = any(other.line.text == text for other in before)  # a new object
            places = {other.place for other in now.version.changed if was_back and other.line.text == text}
            places |= {marks[one.line][2]} if one.line in marks else set()
            if places:  # else it was fixed before somebody resolved the thread
                self.exempt |= {(text, place) for place in (one.place, *places)}
                self.dismissed.add(key)
        self.resolved.clear()
        # A line that was moved away from the lines around it is fixed, and there is another one at the new place.
        self.must_fail = {
            line: place
            for line, place in self.must_fail.items()
            if self._is_same_place(line) and not self._is_hidden(line, now.version)
        }
        self.must_fail.update(now.reported)
        self._check_commit(now, state)
        self.is_complete = self._is_answered(now)
        # At another place, a line is new code, which a later review may read again.
        old = [
            said
            for said, key in self.posted.items()
            if key not in now.keys and (not self._is_same_place(said[0]) or self._is_hidden(said[0], now.version))
        ]
        for said in old:
            del self.posted[said]
        self.reviewed = now.version
        if now.version is self.present:  # else the author has pushed meanwhile
            self.made.moved.clear()
            self.changes.clear()

    def show(self, lines: list[DiffLine]) -> None:
        """Remember what Claude was shown."""
        for one in lines:
            self.shown.setdefault((one.mark, one.line.text, one.place), set()).add(one.line)

    def report(self, one: DiffLine, severity: Severity, *, is_exact: bool) -> None:
        """Remember a finding, and whether it must be raised."""
        assert self.now is not None
        if severity not in ("critical", "high"):
            return
        self.severe.add(one.line.text)
        is_new = self.reviewed is None or one.line not in self.reviewed.marks
        if is_exact and is_new and one.mark == "+" and one.line.severity:
            self.now.reported.append((one.line, one.place))

    def is_settled(self, one: DiffLine) -> bool:
        """Return True if the last review read this line, and neither it nor the lines around it changed."""
        last = self.reviewed
        if last is None or not self.is_complete or one.line in self.made.moved:
            return False
        if one.mark == " ":
            return True
        key = (one.mark, one.line)
        return last.neighbours.get(key) == self.version.neighbours[key]

    def post(self, comments: list[Any]) -> None:
        """Check new review comments as GitHub and a reader would."""
        assert self.now is not None
        for comment in comments:
            self.totals.comments += 1
            self.now.comments += 1
            start, end = comment.start_line or comment.line, comment.line
            where = f"{self.now.guid} {comment.path} {comment.side} {start}-{end} after {self.changes}"
            side: Side = comment.side
            diff = self.version.diffs.get(comment.path)
            hunk = next((hunk for hunk in diff.hunks if (side, end) in hunk), None) if diff else None
            if hunk is None or start > end or (side, start) not in hunk:
                self.totals.add("rejected position", where)
                continue
            one = hunk[side, end]
            where = f"{where}, {one.mark}{one.line.text.strip()!r}"
            positions = [*hunk]  # with the removed lines between those of the comment
            within = positions[positions.index((side, start)) : positions.index((side, end)) + 1]
            # A range with another line that changed may be about that one.
            is_same = all(self.is_settled(hunk[position]) for position in within if position != (side, end))
            severity, category = re.findall(r"\((\w+), (\w+), \d+ % sure\)", comment.body)[0]
            said = (one.line, category)
            is_limit = self._is_split(said) or self._is_lost(one)
            if said in self.posted and is_same and self._is_same_place(one.line) and not is_limit:
                is_dismissed = self.posted[said] in self.dismissed
                self.totals.add("raised after a dismissal" if is_dismissed else "repeated", where)
            is_late = self.now.rounds and (self.now.rounds > 1 or severity != "critical")
            if is_late and all(self.is_settled(hunk[position]) for position in within):
                self.totals.add("raised on unchanged lines", where)
            if "fails for x" not in comment.body and self.now.refuted & {*re.findall(r"y = (\d+)", comment.body)}:
                self.totals.add("raised although refuted", where)
            self.posted[said], self.lines[comment.key] = comment.key, one
            self.now.keys.add(comment.key)
            self.quotes[said] = [hunk[position].line for position in within]
            self.github.review_threads_of[self.number] = (
                *self.github.review_threads_of.get(self.number, ()),
                ReviewThread(self.github.inline_comments[comment.key], comment.key, False, None, (), (), (), ()),
            )

    def _is_same_place(self, line: SourceLine) -> bool:
        """Return True if the line was not moved since the last review, or nearly all lines around it with it."""
        if self.reviewed is None or line not in self.made.moved:
            return True
        now, before = ({*version.around.get(line, ())} for version in (self.version, self.reviewed))
        return bool(before) and len(now & before) >= len(before) - 1

    def _is_split(self, said: tuple[SourceLine, str]) -> bool:
        """Return True if the lines of an earlier finding are in several files or hunks now: docs/reviews.md."""
        present = {line for line in self.quotes.get(said, ()) if line in self.version.marks}
        places = {
            (path, number)
            for path, diff in self.version.diffs.items()
            for number, hunk in enumerate(diff.hunks)
            if not present.isdisjoint(one.line for one in hunk.values())
        }
        is_moved = not self.made.moved.isdisjoint(present)
        return len({path for path, _ in places}) > 1 or (is_moved and len(places) > 1)

    def _is_lost(self, one: DiffLine) -> bool:
        """Return True if the line moved, or its file was renamed, while GitHub showed a part of it: docs/reviews.md."""
        before = self.reviewed
        if self.cut is None or before is None or one.line not in before.marks:
            return False
        path = before.marks[one.line][0]
        is_cut = any(
            file.path in (path, one.path) and file not in self.listed(version)
            for version in (before, self.version)
            for file in version.files
        )
        return is_cut and (path != one.path or one.line in self.made.moved)

    def _is_hidden(self, line: SourceLine, version: Version) -> bool:
        """Return True if the line has moved to another file, and GitHub does not show its patch: docs/reviews.md."""
        if self.reviewed is None or line not in self.reviewed.marks or line not in version.marks:
            return False
        before, path = self.reviewed.marks[line][0], version.marks[line][0]
        shown = {file.path: file.patch for file in self.listed(version)}
        own = next(file.patch for file in version.files if file.path == path)
        return path != before and version.renamed.get(path) != before and shown.get(path) != own

    def dismiss(self) -> None:
        """Let people dismiss some of the findings."""
        for thread in self.github.review_threads_of.get(self.number, ()):
            if self.random.random() < 0.2:
                who = self.random.choice((WRITER, WRITER, READER))
                self._dismiss(thread, self.random.choice(DISMISSALS), who)

    def resolve_fixed(self) -> None:
        """Let somebody resolve the threads of lines that are gone."""
        present = {line for lines in self.made.head.values() for line in lines}
        for thread in self.github.review_threads_of.get(self.number, ()):
            one = self.lines.get(thread.key)
            if one is not None and one.mark != "-" and one.line not in present and not thread.is_resolved:
                self._dismiss(thread, "resolved", self.random.choice((WRITER, READER)))

    def _dismiss(self, thread: ReviewThread, how: str, who: str) -> None:
        one = self.lines[thread.key]
        if how == "thumbs down":
            changed = replace(thread, thumbs_down=(*thread.thumbs_down, who))
        elif how == "resolved":
            changed = replace(thread, is_resolved=True, resolved_by=who)
        else:
            reply = ThreadReply(who, "Won't fix, this is by design.")
            changed = replace(thread, replies=(*thread.replies, reply))
        self.github.review_threads_of[self.number] = tuple(
            changed if other.key == thread.key else other for other in self.github.review_threads_of[self.number]
        )
        if how == "resolved":
            self.resolved[thread.key] = one
        else:
            self.dismissed.add(thread.key)
        if who == WRITER and how != "resolved":
            # The text of the finding may have another one that was reported at one of its lines: docs/reviews.md.
            text = next((entry.body for entry in self._record().ledger if entry.key == thread.key), "")
            added = {line: place for line, place in self.must_fail.items() if f" in {visible(line.text)}." in text}
            self.exempt |= {(one.line.text, one.place), *((line.text, place) for line, place in added.items())}
        elif who != WRITER and how == "resolved":
            self.resolved.pop(thread.key, None)

    def listed(self, version: Version) -> tuple[ChangedFile, ...]:
        """The changed files as GitHub lists them, incomplete for some pull requests."""
        return tuple(
            self._cut(file) if crc32(file.path.encode()) % 3 == 0 else file
            for file in version.files
            if self.cut != "unlisted" or crc32(file.path.encode()) % 3
        )

    def _cut(self, file: ChangedFile) -> ChangedFile:
        first, mark, _ = (file.patch or "").partition("\n@@ ")
        if self.cut == "no patch":
            return replace(file, patch=None)
        return replace(file, patch=first) if self.cut == "shortened" and mark else file

    def _check_commit(self, now: Running, state: str) -> None:
        """Compare the check with what Claude was shown and what it reported."""
        version = now.version
        before = len(self.github.check_actions)
        self.world.advance(400)
        CheckEnder(
            self.world.store, lambda: self.github, settings=lambda: self.world.settings, wait=lambda _s: False
        ).run()
        states = [*self.github.checks_on.get(version.sha, {}).values()]
        if "in_progress" in states or (state == "done" and not states):
            self.totals.add("open check", now.guid)
        unread = self._find_unread(version)
        if "success" in states:
            self.totals.successes += 1
            for one in unread[:1]:
                self.totals.add("unread success", f"{now.guid}, {one} of {len(unread)} after {self.changes}")
        if state != "done" or len(self.github.check_actions) > before:
            return
        self._check_failure(now)
        changed = {file.path for file in version.files if file.additions + file.deletions}
        whole = changed - {one.path for one in unread}
        action = next(one for one in reversed(self.github.check_actions) if one.commit == version.sha)
        found = re.search(r"^\| files \| (\d+) of (\d+) \|$", action.summary, re.MULTILINE)
        done, needed = map(int, found.groups()) if found else (-1, -1)
        listed = self.listed(version)
        needing = sum(file.additions + file.deletions > 0 for file in listed) + len(version.files) - len(listed)
        if needed != needing or not 0 <= done <= len(whole):
            counts = f"the check counts {done} of {needed}, not {len(whole)} of {needing}"
            self.totals.add("wrong coverage", f"{now.guid}: {counts}")

    def _find_unread(self, version: Version) -> list[DiffLine]:
        """Return the changed lines that Claude was not shown in their present function."""
        present: dict[tuple[str, str, str], list[DiffLine]] = {}
        for one in version.changed:
            present.setdefault((one.mark, one.line.text, one.place), []).append(one)
        unread: list[DiffLine] = []
        for key, lines in present.items():
            shown = self.shown.get(key, set())
            unread += sorted(lines, key=lambda one: one.line not in shown)[len(shown) :]
        return unread

    def _check_failure(self, now: Running) -> None:
        action = next(one for one in reversed(self.github.check_actions) if one.commit == now.version.sha)
        if self.fail_on is None:
            return
        listed = {file.path for file in self.listed(now.version)}
        present = [
            one
            for one in now.version.changed
            if one.mark == "+" and one.line in self.must_fail and one.path in listed
            if {(one.line.text, one.place), (one.line.text, self.must_fail[one.line])}.isdisjoint(self.exempt)
        ]
        if action.conclusion == "failure":
            self.totals.failures += 1
            # A finding in a patch that GitHub shortened stays as it is, because its line may be in the rest. One that
            # Claude did not decide about is open.
            is_decided = "it is not decided" not in action.summary
            if self.cut is None and is_decided and self.severe.isdisjoint(now.version.texts):
                self.totals.add("unjustified failure", f"{now.guid} after {self.changes}")
        elif present:
            self.totals.add("missed failure", f"{now.guid}: {present[0]} after {self.changes}")

    def _is_answered(self, now: Running) -> bool:
        """Return True if no call of the review is missing, so that only new changes lead to further calls."""
        action = next(one for one in reversed(self.github.check_actions) if one.commit == now.version.sha)
        missing = any(reason in action.summary for reason in (NO_BUDGET, "no usable reply", "too long for one call"))
        self.totals.incomplete += missing
        self.totals.faults["budget used up"] += NO_BUDGET in action.summary
        return not missing and self.cut != "shortened"

    def _arm(self) -> None:
        """Let calls to GitHub fail before they have an effect, and the worker end before or after."""
        self.github.on_call = self._maybe_fail
        self.lost = (self._maybe_lose(), self._maybe_lose())
        self.github.lost_responses, self.github.lost_check_responses = map(list, self.lost)

    def _disarm(self) -> None:
        self.github.on_call = lambda _what: None
        lists = (self.github.lost_responses, self.github.lost_check_responses)
        for armed, left in zip(self.lost, lists, strict=True):
            is_used = len(left) < len(armed)
            self.totals.faults["GitHub: 502 after the write"] += is_used and isinstance(armed[0], DependencyDown)
            left.clear()

    def _maybe_fail(self, what: str) -> None:
        if self.random.random() < self.kills:
            raise Killed
        if self.random.random() < self.faults * 0.1:
            self.totals.faults["GitHub: 502"] += 1
            raise GITHUB_DOWN
        if what == f"files {self.number}" and self.now is not None:
            self.now.version = self.present

    def _maybe_lose(self) -> list[BaseException]:
        if self.random.random() < self.kills:
            return [Killed()]
        return [self.random.choice((GITHUB_DOWN, NO_RESPONSE))] if self.random.random() < self.faults * 0.2 else []

    def _calls(self) -> int:
        return self.reviewer.calls if isinstance(self.reviewer, UnreliableReviewer) else 0

    def _record(self) -> Any:
        return StoredHistory(self.world.store.database, REPOSITORY_ID, "hls-bot").review(self.number)

    def _check_rounds(self, now: Running) -> None:
        last, version, rounds = self.reviewed, now.version, now.rounds or 0
        if last is not None and self.is_complete and now.calls:
            if not version.hunks - last.hunks:
                self.totals.add("idle call", f"{now.guid} after {self.changes}")
            elif {*self.changes} <= {"edit the base", "merge the base"}:
                self.totals.calls_beside_the_base += 1
        defects = [one for one in version.changed if one.mark == "+" and one.line.severity]
        if rounds >= 2 and now.calls and self.is_complete and all(map(self.is_settled, defects)):
            self.totals.late_rounds += 1
            self.totals.late_findings += now.comments > 0
        steps = self.world.store.checkpoints.load(now.guid)
        facts = facts_codec(PullRequestHandler()).decode(steps.get((GATHER, 0)))
        if facts is None:
            self.totals.add("other", f"{now.guid} has no facts")
            return
        coverage = cover(facts.selection, {}, unlisted=facts.unlisted)
        if len(coverage.files) + coverage.unlisted != len(version.files):
            self.totals.add("wrong coverage", f"{now.guid}: {len(coverage.files)} of {len(version.files)} files")
        for file in self.listed(version):
            hunks = len(parse_patch(file.patch or "").hunks)
            shown = next((one for one in coverage.files if one.path == file.path), None)
            if shown is None or (hunks and shown.hunks != hunks):
                self.totals.add("wrong coverage", f"{now.guid}: {file.path}")
        ledger = self._record().ledger
        if len({entry.key for entry in ledger}) != len(ledger):
            self.totals.add("other", f"{now.guid}: keys of the ledger repeat")
        for entry in ledger:
            if "fails for x" not in entry.body and now.refuted & {*re.findall(r"y = (\d+)", entry.body)}:
                self.totals.add("raised although refuted", f"{now.guid}: {entry.title}")


def simulate(
    folder: Path, *, seed: int, pull_requests: int, pushes: int = 5, kills: float = 0.02, faults: float = 0.05
) -> Totals:
    """Run generated pull requests one after the other; a seed determines them."""
    totals, random = Totals(), Random(seed)
    github = CheckingGithub(permissions={WRITER: "write"})
    reviewer = UnreliableReviewer(totals, faults=faults)
    given = settings(limits={"thread_runs_per_hour": 10_000, "settle_s": 0}, claude={"calls_per_hour": 100_000})
    with open_world(folder, replies=reviewer, given=given) as opened:
        world = replace(opened, github=github)
        for number in range(1, pull_requests + 1):
            one = Simulation(world, Random(random.random()), number, totals, kills=kills, faults=faults)
            github.simulation = one
            one.run(pushes)
    return totals


def describe(totals: Totals) -> str:
    counted = {name.replace("_", " "): value for name, value in vars(totals).items() if isinstance(value, int)}
    counted |= {f"fault: {kind}": number for kind, number in sorted(totals.faults.items())}
    counted["faults"] = totals.faults.total() + totals.kills
    counted |= {f"error: {error}": totals.errors[error] for error in ERRORS}
    return "\n".join(f"{name:40} {value:>8}" for name, value in counted.items())

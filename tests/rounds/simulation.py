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
from hls_handler.review.ledger import ReviewThread, ThreadReply
from hls_handler.review.patches import parse_patch
from hls_handler.sandbox.reading import PatchOfFile, read_request
from hls_handler.work.asking import NO_BUDGET
from hls_handler.work.commit_checks import CheckEnder
from hls_handler.work.job import GATHER, facts_codec
from hls_handler.work.runner import run_delivery
from tests.rounds.generated import DEFECT, GeneratedPullRequest
from tests.work.fakes import CLAUDE_DOWN, GITHUB_DOWN, FakeClaude, FakeGithub, FakeWriter
from tests.work.world import World, open_world, settings

REPOSITORY_ID = 186853002
CATEGORIES = ("bugs", "security", "performance", "style")
SEVERITIES = ("critical", "high", "medium", "low")
UNUSABLE: tuple[Unusable, ...] = get_args(Unusable)
TITLES = ("Wrong value", "The result is lost", "This overflows", "Computed twice")
DISMISSALS = ("thumbs down", "resolved", "won't fix")
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

WITHOUT_CHANGE = {"rebase", "merge the base", "nothing"}
WITHOUT_NEW_CODE = WITHOUT_CHANGE | {"revert a change", "delete a file"}


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
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)  # by kind, without kills
    dead: int = 0  # deliveries that failed for good
    comments: int = 0
    rejected: int = 0  # positions that GitHub would reject
    repeated: int = 0  # comments about a line that has one of the same category
    raised_after_dismissal: int = 0
    late_rounds: int = 0  # reviews from the third on, without new code
    late_findings: int = 0  # those of them with a new comment
    idle_calls: int = 0  # calls of Claude although no code changed
    uncovered: int = 0  # reviews and checks whose coverage does not add up to the changed files
    incomplete: int = 0  # reviews that ended with a part of the changes
    successes: int = 0  # checks
    false_successes: int = 0  # checks that are a success although Claude was not shown a changed line
    open_checks: int = 0  # checks that did not end
    problems: list[str] = field(default_factory=list)

    @property
    def is_wrong(self) -> bool:
        """True if a review was wrong, or if more than 5 % of the late rounds had a new finding."""
        errors = self.rejected + self.repeated + self.raised_after_dismissal + self.idle_calls + self.uncovered
        errors += self.false_successes + self.open_checks
        return bool(errors or self.problems or self.late_findings > 0.05 * max(self.late_rounds, 60))


class UnreliableReviewer(FakeClaude):
    """Reports most defects that it sees, often with a wrong line, other words or an invented quote."""

    def __init__(self, random: Random, totals: Totals, *, faults: float) -> None:
        super().__init__([])
        self.random, self.totals, self.faults, self.calls = random, totals, faults, 0
        self.shown: set[tuple[str, str]] = set()  # path and changed line, of every call with a valid reply

    def ask(self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None) -> ValidReply | UnusableReply:
        self.calls += 1
        usage = Usage("claude-haiku-5-5", input_tokens=900, output_tokens=100, cost_usd=0.02)
        if self.random.random() < self.faults:
            return self._fail(rendered, usage)
        name = rendered.prompt.name
        reply = self._verdicts(rendered.task) if name == "pull_requests/verify" else self._review(rendered.task)
        return ValidReply(rendered.prompt.id, rendered.prompt.reply, reply, usage)

    def _fail(self, rendered: RenderedPrompt, usage: Usage) -> UnusableReply:
        if self.random.random() < 0.3:
            error = self.random.choice((CLAUDE_DOWN, NO_REPLY))
            self.totals.faults[f"Claude: {error}"] += 1
            raise error
        why: Unusable = self.random.choice(UNUSABLE)
        self.totals.faults[why] += 1
        return UnusableReply(rendered.prompt.id, why, "it cannot be used", "{", usage)

    def _verdicts(self, task: str) -> FindingVerdicts:
        count = task.count("\nFinding ")
        verdicts = [FindingVerdict(number=one + 1, is_refuted=self.random.random() < 0.05) for one in range(count)]
        return FindingVerdicts(worth_saying=False, verdicts=verdicts)

    def _review(self, task: str) -> PullRequestAnalysis:
        reading = read_request({"messages": [{"role": "user", "content": task}]})
        found = [finding for patch in reading.patches for finding in self._findings(patch)]
        changed = [(patch.path, line) for patch in reading.patches for line in patch.lines if line.mark != " "]
        self.shown.update((path, line.mark + visible(line.text)) for path, line in changed)
        return PullRequestAnalysis(
            worth_saying=bool(found),
            type="feature",
            summary="It changes some values.",
            findings=found[:50],
            suggested_labels=[],
        )

    def _findings(self, patch: PatchOfFile) -> list[Finding]:
        found = []
        for line in patch.lines:
            if DEFECT in line.text and line.mark != "-" and self.random.random() < 0.9:
                found.append(self._finding(patch.path, line.number, line.text))
        if patch.lines and self.random.random() < 0.3:  # something that is not there, or that is fine
            line = self.random.choice(patch.lines)
            quote = line.text if self.random.random() < 0.5 else "invented = code"
            found.append(self._finding(patch.path, line.number, quote, side="LEFT" if line.mark == "-" else "RIGHT"))
        return found

    def _finding(self, path: str, line: int, quote: str, *, side: str = "RIGHT") -> Finding:
        moved = self.random.choice((0, 0, 0, 1, -2, 7, 40))
        number = max(line + moved, 1)
        return Finding(
            path=path if self.random.random() < 0.97 else "src/elsewhere.py",
            side=side if self.random.random() < 0.95 else "LEFT",
            start_line=self.random.choice((None, None, max(number - self.random.randint(0, 9), 1), number + 3)),
            line=number,
            quote=quote[:1000],
            severity=self.random.choice(SEVERITIES),
            category=CATEGORIES[len(quote) % 4],
            confidence=0.9,
            title=self.random.choice(TITLES),
            body=f"It fails for x = {self.random.randint(0, 99)}.",
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
        outcome = super().ensure_review(number, action, is_retry=is_retry)
        posted = {key for keys in self.github.reviews_posted[before:] for key in keys}
        self.simulation.post([comment for comment in action.comments if comment.key in posted])
        return outcome


class Simulation:
    """One pull request, from its first review to its last."""

    def __init__(
        self, world: World, random: Random, number: int, totals: Totals, *, kills: float, faults: float
    ) -> None:
        self.world, self.random, self.number, self.totals = world, random, number, totals
        self.kills, self.faults = kills, faults
        self.cut = random.choice((*CUTS, *[None] * 9))
        given = world.settings
        if random.random() < faults * 3:
            review = given.review.model_copy(update=random.choice(BUDGETS))
            given = given.model_copy(update={"review": review})
        if random.random() < 0.3:  # several calls for one review
            given = given.model_copy(update={"claude": given.claude.model_copy(update={"input_tokens": 400})})
        self.world = replace(world, settings=given)
        self.made = GeneratedPullRequest(random)
        self.posted: dict[tuple[str, str], str] = {}  # (quoted line, category) -> key
        self.dismissed: set[str] = set()
        self.pushes = self.new_comments = 0
        self.changes = ["add lines"]  # since the event before
        self.was_complete = False  # the last review has all its replies
        self.github = world.github
        self.reviewer = world.claude
        totals.pull_requests += 1
        if isinstance(self.reviewer, UnreliableReviewer):
            self.reviewer.shown.clear()

    def run(self, pushes: int) -> None:
        self.deliver("opened")
        for _ in range(pushes):
            self.dismiss()
            self.changes = [self.made.change() for _ in range(self.random.choice((1, 1, 1, 2)))]
            self.pushes += 1
            self.deliver(self.random.choice(("synchronize",) * 5 + ("edited", "reopened")))

    def deliver(self, action: str) -> None:
        """Send one event, and run the delivery to its end, also if the worker is killed or Claude fails."""
        guid = f"{self.number}-{self.pushes}-{action}"
        payload: Any = json.loads(recorded.load("pull_request.opened").body)
        shown, sha = payload["pull_request"], f"{self.number:020x}{self.pushes:020x}"
        payload |= {"action": action, "number": self.number}
        shown |= {"number": self.number, "state": "open", "changed_files": len(self.made.files())}
        shown["head"]["sha"] = sha
        body = json.dumps(payload).encode()
        event = parse_event("pull_request", guid, body)
        assert event.pull_request is not None
        self.github.pull_requests[self.number] = event.pull_request
        self.github.changed[self.number] = self.listed()
        known = {"repository_id": REPOSITORY_ID, "repository": "Codertocat/Hello-World", "number": self.number}
        delivery = NewDelivery(
            guid=guid,
            event="pull_request",
            action=action,
            request_id="r",
            state="queued",
            head_sha=sha,
            digest=guid.encode(),
            body=body,
            **known,  # type: ignore[arg-type]
        )
        self.world.store.queue.accept([delivery], replay_window_h=72)
        self.totals.deliveries += 1
        calls, self.new_comments = self._calls(), 0
        record = self._record()
        for _ in range(40):
            lease = self.world.claim()
            if lease is None:
                self.world.advance(400)
                continue
            self._arm()
            try:
                finished = run_delivery(lease, self.world.tools())
            except Killed:
                self.totals.kills += 1
                self.world.advance(100)
                continue
            finally:
                self._disarm()
            if finished is not None:
                self._check(finished.state, guid, calls, record.rounds)
                self._check_commit(sha, finished.state)
                self.was_complete = finished.state == "done" and self._is_answered()
                return
            self.world.advance(400)
        self.totals.problems.append(f"{guid} did not end")

    def post(self, comments: list[Any]) -> None:
        """Check new review comments as GitHub and a reader would."""
        for comment in comments:
            self.totals.comments += 1
            self.new_comments += 1
            start, end = comment.start_line or comment.line, comment.line
            hunks = self.made.accepted_lines(comment.path)
            lines = next((hunk for hunk in hunks if (comment.side, end) in hunk), None)
            if lines is None or start > end or (comment.side, start) not in lines:
                self.totals.rejected += 1
                self.totals.problems.append(f"{self.number}: rejected {comment.path} {comment.side} {start}-{end}")
                continue
            category = comment.body.partition("(")[2].partition(",")[2].partition(",")[0].strip()
            said = (lines[comment.side, end].strip(), category)
            if DEFECT in said[0] and said in self.posted:
                self.totals.repeated += 1
                self.totals.problems.append(f"{self.number}: repeated {said}")
            if comment.key in self.dismissed:
                self.totals.raised_after_dismissal += 1
            self.posted[said] = comment.key
            self.github.review_threads_of[self.number] = (
                *self.github.review_threads_of.get(self.number, ()),
                ReviewThread(self.github.inline_comments[comment.key], comment.key, False, None, (), (), (), ()),
            )

    def dismiss(self) -> None:
        """Let a person dismiss some of the findings."""
        threads = self.github.review_threads_of.get(self.number, ())
        changed = []
        for thread in threads:
            how = self.random.choice(DISMISSALS) if self.random.random() < 0.2 else None
            if how is not None:
                self.dismissed.add(thread.key)
            if how == "thumbs down":
                changed.append(replace(thread, thumbs_down=("mona",)))
            elif how == "resolved":
                changed.append(replace(thread, is_resolved=True, resolved_by="mona"))
            elif how == "won't fix":
                changed.append(replace(thread, replies=(ThreadReply("mona", "Won't fix, this is by design."),)))
            else:
                changed.append(thread)
        self.github.review_threads_of[self.number] = tuple(changed)

    def listed(self) -> tuple[ChangedFile, ...]:
        """The changed files as GitHub lists them, incomplete for some pull requests."""
        return tuple(
            self._cut(file) if crc32(file.path.encode()) % 3 == 0 else file
            for file in self.made.files()
            if self.cut != "unlisted" or crc32(file.path.encode()) % 3
        )

    def _cut(self, file: ChangedFile) -> ChangedFile:
        first, mark, _ = (file.patch or "").partition("\n@@ ")
        if self.cut == "no patch":
            return replace(file, patch=None)
        return replace(file, patch=first) if self.cut == "shortened" and mark else file

    def _check_commit(self, sha: str, state: str) -> None:
        """Compare the check with what Claude was shown."""
        before = len(self.github.check_actions)
        self.world.advance(400)
        CheckEnder(
            self.world.store, lambda: self.github, settings=lambda: self.world.settings, wait=lambda _s: False
        ).run()
        states = self.github.checks_on.get(sha, {})
        self.totals.open_checks += "in_progress" in states.values() or (state == "done" and not states)
        files, listed = self.made.files(), self.listed()
        changed = [file for file in files if file.additions + file.deletions]
        whole = [file for file in changed if self._is_shown(file)]
        if "success" in states.values():
            self.totals.successes += 1
            if len(whole) < len(changed):
                self.totals.false_successes += 1
                self.totals.problems.append(f"{sha}: a success for {len(whole)} of {len(changed)} files")
        if state != "done" or len(self.github.check_actions) > before:
            return
        found = re.search(r"^\| files \| (\d+) of (\d+) \|$", self.github.check_actions[-1].summary, re.MULTILINE)
        done, needed = map(int, found.groups()) if found else (-1, -1)
        needing = sum(file.additions + file.deletions > 0 for file in listed) + len(files) - len(listed)
        if needed != needing or not 0 <= done <= len(whole):
            self.totals.uncovered += 1
            self.totals.problems.append(f"{sha}: the check counts {done} of {needed}, not {len(whole)} of {needing}")

    def _is_shown(self, file: ChangedFile) -> bool:
        assert isinstance(self.reviewer, UnreliableReviewer)
        lines = [line for line in (file.patch or "").split("\n") if line.startswith(("+", "-"))]
        return all((file.path, line[0] + visible(line[1:])) in self.reviewer.shown for line in lines)

    def _is_answered(self) -> bool:
        """Return True if no call of the last review is missing, so that only new changes lead to further calls."""
        summary = self.github.check_actions[-1].summary
        missing = any(reason in summary for reason in (NO_BUDGET, "no usable reply", "too long for one call"))
        self.totals.incomplete += missing
        self.totals.faults["budget used up"] += NO_BUDGET in summary
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

    def _maybe_fail(self, _what: str) -> None:
        if self.random.random() < self.kills:
            raise Killed
        if self.random.random() < self.faults * 0.1:
            self.totals.faults["GitHub: 502"] += 1
            raise GITHUB_DOWN

    def _maybe_lose(self) -> list[BaseException]:
        if self.random.random() < self.kills:
            return [Killed()]
        return [self.random.choice((GITHUB_DOWN, NO_RESPONSE))] if self.random.random() < self.faults * 0.2 else []

    def _calls(self) -> int:
        return self.reviewer.calls if isinstance(self.reviewer, UnreliableReviewer) else 0

    def _record(self) -> Any:
        return StoredHistory(self.world.store.database, REPOSITORY_ID, "hls-bot").review(self.number)

    def _check(self, state: str, guid: str, calls_before: int, rounds: int) -> None:
        calls = self._calls() - calls_before
        self.totals.calls += calls
        if state == "ignored":  # edited, and neither title nor base changed: the changes belong to the next event
            return
        if state == "dead":
            self.totals.dead += 1
            return
        record = self._record()
        if self.was_complete and rounds and not {*self.changes} - WITHOUT_CHANGE:
            self.totals.idle_calls += calls
            if calls:
                self.totals.problems.append(f"{guid}: calls after {self.changes}")
        if rounds >= 2 and self.was_complete and not {*self.changes} - WITHOUT_NEW_CODE:
            self.totals.late_rounds += 1
            self.totals.late_findings += self.new_comments > 0
        steps = self.world.store.checkpoints.load(guid)
        facts = facts_codec(PullRequestHandler()).decode(steps.get((GATHER, 0)))
        if facts is None:
            self.totals.problems.append(f"{guid}: no facts")
            return
        coverage = cover(facts.selection, {}, unlisted=facts.unlisted)
        if len(coverage.files) + coverage.unlisted != facts.pull_request.changed_files:
            self.totals.uncovered += 1
        for file in self.listed():
            hunks = len(parse_patch(file.patch or "").hunks)
            shown = next((one for one in coverage.files if one.path == file.path), None)
            if shown is None or (hunks and shown.hunks != hunks):
                self.totals.problems.append(f"{guid}: coverage of {file.path}")
        if len({entry.key for entry in record.ledger}) != len(record.ledger):
            self.totals.problems.append(f"{guid}: keys of the ledger repeat")


def simulate(
    folder: Path, *, seed: int, pull_requests: int, pushes: int = 5, kills: float = 0.02, faults: float = 0.05
) -> Totals:
    """Run generated pull requests one after the other; a seed determines them."""
    totals, random = Totals(), Random(seed)
    github = CheckingGithub()
    reviewer = UnreliableReviewer(random, totals, faults=faults)
    given = settings(limits={"thread_runs_per_hour": 10_000, "settle_s": 0}, claude={"calls_per_hour": 100_000})
    with open_world(folder, replies=reviewer, given=given) as opened:
        world = replace(opened, github=github)
        for number in range(1, pull_requests + 1):
            one = Simulation(world, Random(random.random()), number, totals, kills=kills, faults=faults)
            github.simulation = one
            one.run(pushes)
    return totals


def describe(totals: Totals) -> str:
    counted = {name: value for name, value in vars(totals).items() if isinstance(value, int)}
    counted |= {f"fault: {kind}": number for kind, number in sorted(totals.faults.items())}
    counted["faults"] = totals.faults.total() + totals.kills
    return "\n".join(f"{name.replace('_', ' '):40} {value:>8}" for name, value in counted.items())

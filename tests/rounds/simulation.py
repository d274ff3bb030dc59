"""Sends generated pull requests through the whole pipeline, with a scripted Claude, and checks every result."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

from hls_handler.actions import EnsureReview, InlineComment, Outcome
from hls_handler.engine.runner import run_delivery
from hls_handler.engine.unreviewed_checks import CheckEnder
from hls_handler.errors import DependencyDown
from hls_handler.events import parse_event
from hls_handler.handlers.asking import NO_BUDGET
from hls_handler.handlers.changed_files import LONG_LINE, TOO_LARGE
from hls_handler.handlers.reader import ChangedFile
from hls_handler.prompting import recorded
from hls_handler.review.record import ReviewRecord, ReviewThread, ThreadReply
from hls_handler.settings.model import RepositoryPaths, Settings
from hls_handler.store.conversations import ConversationHistory, ConversationRef
from tests.engine.fakes import GITHUB_DOWN, FakeGithub, FakeWriter
from tests.engine.world import World, open_world, settings
from tests.handlers.world import count_changes
from tests.rounds.claude import FAULT_NAME, Answers, ScriptedClaude, visible
from tests.rounds.generated import IGNORED, DiffLine, Fault, GeneratedPullRequest, Version, is_ignored

REPOSITORY_ID = 186853002
DISMISSALS = ("thumbs down", "resolved", "won't fix", "deleted")
WRITER, READER = "mona", "guest"
"""Logins of people with and without write permission."""
NO_RESPONSE = DependencyDown("no answer", dependency="github", remedy="wait", may_have_succeeded=True)
BUDGETS = ({"max_usd": 0.000001}, {"max_usd": 0.08}, {"max_usd": 0.14}, {"max_usd_per_pull_request": 0.2})
"""`review` of some pull requests. A call costs 0.02 USD, and at most 0.05."""
CUTS = ("no patch", "shortened", "unlisted")
"""Ways in which GitHub's list of files can be incomplete."""

ERRORS = {
    "second comment": "a review comment about a fault that an open one of HLS is about",
    "false success": "the check is a success, though a raised fault is present, and no writer dismissed it",
    "unread success": "the check is a success, and Claude was not shown a changed line",
    "raised on unchanged lines": "after the first review",
    "rejected position": "GitHub would reject the position of a comment",
    "idle call": "Claude was asked although no line of the diff is new",
    "wrong coverage": "the check counts other files than those that changed",
    "open check": "the check did not end",
    "other": "a result that cannot be",
}
"""Errors of a review, each of which must not occur."""


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
    superseded: int = 0  # deliveries that a push during the review made unnecessary
    comments: int = 0
    late_rounds: int = 0  # reviews from the third on that asked Claude, and with all faults raised
    late_findings: int = 0  # those of them with a new comment about a fault
    incomplete: int = 0  # reviews that ended with a part of the changes
    successes: int = 0  # checks
    failures: int = 0
    misled: int = 0  # successes after a plausible wrong verdict
    true_verdicts: int = 0  # that a fault is fixed or gone, with proof
    disbelieved: int = 0  # those of them after which the finding is open
    disbelief: list[str] = field(default_factory=list)  # where
    verdicts: Counter[str] = field(default_factory=Counter)  # about earlier findings, by the mode of the call
    errors: Counter[str] = field(default_factory=Counter)  # see `ERRORS`
    problems: list[str] = field(default_factory=list)

    def add(self, error: str, where: str) -> None:
        assert error in ERRORS, error
        self.errors[error] += 1
        self.problems.append(f"{error}: {where}")

    @property
    def is_wrong(self) -> bool:
        """True after an error, more than 5 % of late rounds with a finding, or 1 % of true verdicts disbelieved."""
        is_late = self.late_findings > 0.05 * max(self.late_rounds, 60)
        return bool(self.problems) or is_late or self.disbelieved > 0.01 * max(self.true_verdicts, 100)


@dataclass
class CheckingGithub(FakeGithub):
    """A GitHub that checks the position of every review comment against the files themselves."""

    simulation: Simulation | None = None

    def make_writer(self, history: ConversationHistory, before_write: Callable[[], None], dry_run: bool) -> FakeWriter:
        assert self.simulation is not None
        return CheckingWriter(self, history, before_write, dry_run, self.simulation)


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
    record: ReviewRecord | None = None  # before it
    comments: int = 0  # about faults
    answers: Answers = field(default_factory=Answers)


class Simulation:
    """One pull request, from its first review to its last."""

    def __init__(
        self, world: World, random: Random, number: int, totals: Totals, *, kills: float, faults: float
    ) -> None:
        self.random, self.number, self.totals = random, number, totals
        self.kills, self.share_of_faults = kills, faults
        self.cut = random.choice((*CUTS, *[None] * 17))
        self.world = replace(world, settings=_draw_settings(random, world.settings, faults))
        self.fail_on = self.world.settings.review.fail_on
        self.made = GeneratedPullRequest(random, f"{number:020x}")
        self.present = self.made.save()
        self.raised: dict[Fault, Version] = {}  # the version in which each fault was raised
        self.keys: dict[Fault, set[str]] = {}  # of the findings about each raised fault
        self.exempt: set[Fault] = set()  # dismissed by writers
        self.misled: set[Fault] = set()  # believed to be fixed after a plausible wrong verdict
        self.shown: set[tuple[str, str, str]] = set()  # path in the base, mark and text of the lines that Claude read
        self.running: dict[str, Running] = {}
        self.events = 0
        self.changes: list[str] = []  # since the first review
        self.reviewed: Version | None = None  # by the last review
        self.is_complete = False  # it has all its replies
        self.now: Running | None = None  # the delivery that the worker executes
        assert isinstance(world.claude, ScriptedClaude)
        self.github, self.claude = world.github, world.claude
        self.claude.pull_request = self
        totals.pull_requests += 1

    @property
    def running_now(self) -> Running:
        assert self.now is not None
        return self.now

    @property
    def version(self) -> Version:
        """The version that the present delivery read."""
        return self.running_now.version

    @property
    def answers(self) -> Answers:
        return self.running_now.answers

    @property
    def first_seen(self) -> Mapping[Fault, Version]:
        return self.raised

    @property
    def faults(self) -> Mapping[int, Fault]:
        return {fault.number: fault for fault in self.made.faults}

    def run(self, pushes: int) -> None:
        self.announce("opened")
        self.work()
        for _ in range(pushes):
            self.dismiss()
            self.push(self.random.choice((1, 1, 1, 2)))
            self.work()

    def push(self, changes: int) -> None:
        before = self.present
        self.changes += [self.made.change() for _ in range(changes)] + ["|"]
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
        self.github.changed[self.number] = self.list_files(version)
        for path, lines in version.head.items():
            self.github.head_files[f"{version.sha}:{path}"] = "".join(f"{line.text}\n" for line in lines)
        self.running[guid] = Running(guid, version)
        self.world.accept(
            "pull_request.opened", guid=guid, head_sha=version.sha, number=self.number, action=action, body=body
        )
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
            self.now.record = self.now.record or self._record()
            calls = self.claude.calls
            self._arm()
            try:
                finished = run_delivery(lease, self.world.tools())
            except Killed:
                self.totals.kills += 1
                self.world.advance(100)
                continue
            finally:
                self._disarm()
                self.totals.calls += self.claude.calls - calls
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
        now = self.running.pop(self.running_now.guid)
        self.totals.superseded += state == "superseded"
        self.totals.dead += state == "dead"
        if state == "done":
            self._learn(now)
            self._check_calls(now)
        self._check_commit(now, state)
        if state == "done":
            self.reviewed = now.version

    def _learn(self, now: Running) -> None:
        """Remember what the review raised and believed."""
        self.github.review_threads_of[self.number] = tuple(
            replace(thread, own_replies=tuple(key for id_, key in self.github.replies if id_ == thread.comment_id))
            for thread in self.github.review_threads_of.get(self.number, ())
        )
        ledger = self._record().ledger
        if len({entry.key for entry in ledger}) != len(ledger):
            self.totals.add("other", f"{now.guid}: keys of the ledger repeat")
        for entry in ledger:
            for number in FAULT_NAME.findall(entry.body):
                fault = self.faults[int(number)]
                self.raised.setdefault(fault, now.version)
                self.keys.setdefault(fault, set()).add(entry.key)
        opened = {entry.key for entry in ledger if entry.state == "open"}
        self.misled |= {fault for fault in now.answers.misled if opened.isdisjoint(self.keys.get(fault, ()))}
        if now.answers.has_failed or not now.answers.reviews or self.cut is not None:
            return
        for fault in now.answers.refuted:
            self.totals.true_verdicts += 1
            if opened & self.keys[fault]:
                self.totals.disbelieved += 1
                self.totals.disbelief.append(self._where(f"{fault.code}"))

    def dismiss(self) -> None:
        """Let people dismiss some of the findings."""
        for thread in self.github.review_threads_of.get(self.number, ()):
            if self.random.random() < 0.1:
                self._dismiss(thread, self.random.choice(DISMISSALS), self.random.choice((WRITER, WRITER, READER)))

    def _dismiss(self, thread: ReviewThread, how: str, who: str) -> None:
        if how == "thumbs down":
            changed = [replace(thread, thumbs_down=(*thread.thumbs_down, who))]
        elif how == "resolved":
            changed = [replace(thread, is_resolved=True, resolved_by=who)]
        elif how == "won't fix":
            changed = [replace(thread, replies=(*thread.replies, ThreadReply(who, "Won't fix, this is by design.")))]
        else:
            changed = []
        threads = self.github.review_threads_of[self.number]
        others = (changed if other.key == thread.key else [other] for other in threads)
        self.github.review_threads_of[self.number] = tuple(one for of in others for one in of)
        if who == WRITER and changed:
            self.exempt |= {fault for fault, keys in self.keys.items() if thread.key in keys}

    def list_files(self, version: Version) -> tuple[ChangedFile, ...]:
        """Return the changed files as GitHub lists them, incomplete for some pull requests."""
        is_cut = {file.path: self.cut is not None and crc32(file.path.encode()) % 3 == 0 for file in version.files}
        return tuple(
            self._cut(file) if is_cut[file.path] else file
            for file in version.files
            if self.cut != "unlisted" or not is_cut[file.path]
        )

    def _cut(self, file: ChangedFile) -> ChangedFile:
        first, mark, _ = (file.patch or "").partition("\n@@ ")
        if self.cut == "no patch":
            return replace(file, patch=None)
        return replace(file, patch=first) if mark else file

    def show(self, lines: Iterable[DiffLine]) -> None:
        """Remember what Claude was shown."""
        self.shown.update(self._identify(one, self.version) for one in lines)

    def _identify(self, one: DiffLine, version: Version) -> tuple[str, str, str]:
        return version.renamed.get(one.path, one.path), one.mark, visible(one.line.text)

    def report(self, problem: str) -> None:
        self.totals.add("other", self._where(problem))

    def _where(self, text: str) -> str:
        return f"{self.running_now.guid} {text} after {self.changes}"

    def post(self, comments: list[InlineComment]) -> None:
        """Check new review comments as GitHub and a reader would."""
        now = self.running_now
        opened = {entry.key for entry in self._record().ledger if entry.state == "open"}
        for comment in comments:
            self.totals.comments += 1
            start, end = comment.start_line or comment.line, comment.line
            hunks = self.version.hunks.get(comment.path, ())
            hunk = next((of for of in hunks if any((x.side, x.number) == (comment.side, end) for x in of)), ())
            if start > end or not any((x.side, x.number) == (comment.side, start) for x in hunk):
                self.totals.add("rejected position", self._where(f"{comment.path} {comment.side} {start}-{end}"))
                continue
            named = {self.faults[int(number)] for number in FAULT_NAME.findall(comment.body)}
            now.comments += bool(named)
            for fault in named:
                keys = self.keys.setdefault(fault, set())
                if keys & opened:
                    self.totals.add("second comment", self._where(fault.code))
                keys.add(comment.key)
            texts = comment.path, tuple((one.mark, one.line.text) for one in hunk)
            if self.reviewed is not None and self.is_complete and texts in self.reviewed.count_hunks():
                self.totals.add("raised on unchanged lines", self._where(f"{comment.path} {end}"))
            thread = ReviewThread(self.github.inline_comments[comment.key], comment.key, False, None, (), (), (), ())
            threads = self.github.review_threads_of.get(self.number, ())
            self.github.review_threads_of[self.number] = (*threads, thread)

    def _check_commit(self, now: Running, state: str) -> None:
        """Compare the check with what Claude was shown and what it reported."""
        before = len(self.github.check_actions)
        self.world.advance(400)
        CheckEnder(
            self.world.store, lambda: self.github, settings=lambda: self.world.settings, wait=lambda _s: False
        ).run()
        states = [*self.github.checks_on.get(now.version.sha, {}).values()]
        if "in_progress" in states or (state == "done" and not states):
            self.totals.add("open check", now.guid)
        self.totals.failures += "failure" in states
        if states[-1:] == ["success"]:  # the newest: an older review of this commit may not know the fault
            self.totals.successes += 1
            self._check_success(now)
        if state != "done" or len(self.github.check_actions) > before:
            return
        action = next(one for one in reversed(self.github.check_actions) if one.commit == now.version.sha)
        missing = any(reason in action.summary for reason in (NO_BUDGET, "no usable reply", LONG_LINE, TOO_LARGE))
        self.totals.incomplete += missing
        self.totals.faults["budget used up"] += NO_BUDGET in action.summary
        self.is_complete = not missing and self.cut is None and not self._find_unread(now.version)
        found = re.search(r"^\| files \| \d+ of (\d+) \|$", action.summary, re.MULTILINE)
        needing = sum(file.additions + file.deletions > 0 and not is_ignored(file.path) for file in now.version.files)
        unlisted = len(now.version.files) - len(self.list_files(now.version))
        if self.cut is None and (unlisted or int(found[1] if found else 0) != needing):
            self.totals.add("wrong coverage", self._where(f"{found and found[0]}, not {needing}"))

    def _find_unread(self, version: Version) -> list[DiffLine]:
        """Return the changed lines that Claude was not shown."""
        changed = (one for one in version.changed if one.line.text.strip())
        return [one for one in changed if self._identify(one, version) not in self.shown]

    def _check_success(self, now: Running) -> None:
        unread = self._find_unread(now.version)
        if unread:
            self.totals.add("unread success", self._where(f"{unread[0]}"))
        if self.fail_on is None:
            return
        present = [fault for fault in self.raised if fault in now.version.faults and fault not in self.exempt]
        self.totals.misled += bool(self.misled.intersection(present))
        for fault in present:
            if fault not in self.misled:
                self.totals.add("false success", self._where(fault.code))

    def _check_calls(self, now: Running) -> None:
        assert now.record is not None
        if not now.answers.reviews or self.reviewed is None or not self.is_complete:
            return
        is_known = not now.version.count_hunks() - self.reviewed.count_hunks()
        if is_known and not any(entry.state == "fixed" for entry in now.record.ledger):
            self.totals.add("idle call", self._where(""))
        raised = {int(number) for entry in now.record.ledger for number in FAULT_NAME.findall(entry.body)}
        if now.record.rounds >= 2 and raised.issuperset(fault.number for fault in now.version.faults):
            self.totals.late_rounds += 1
            self.totals.late_findings += now.comments > 0

    def _record(self) -> ReviewRecord:
        return self.world.store.reviews.find(ConversationRef(REPOSITORY_ID, "hls-bot", self.number))

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
        if self.random.random() < self.share_of_faults * 0.1:
            self.totals.faults["GitHub: 502"] += 1
            raise GITHUB_DOWN
        if what == f"files {self.number}" and self.now is not None:
            self.now.version = self.present

    def _maybe_lose(self) -> list[BaseException]:
        if self.random.random() < self.kills:
            return [Killed()]
        is_lost = self.random.random() < self.share_of_faults * 0.2
        return [self.random.choice((GITHUB_DOWN, NO_RESPONSE))] if is_lost else []


def _draw_settings(random: Random, given: Settings, faults: float) -> Settings:
    review: dict[str, object] = {"fail_on": random.choice(("high", "high", "high", None))}
    if random.random() < faults * 3:
        review |= random.choice(BUDGETS)
    given = given.model_copy(update={"review": given.review.model_copy(update=review)})
    if random.random() < 0.3:  # several calls for one review
        given = given.model_copy(update={"claude": given.claude.model_copy(update={"input_tokens": 400})})
    paths = RepositoryPaths.model_validate({"ignore": [IGNORED]})
    repository = given.repositories[0].model_copy(update={"paths": paths})
    return given.model_copy(update={"repositories": (repository,)})


def simulate(
    folder: Path, *, seed: int, pull_requests: int, pushes: int = 5, kills: float = 0.02, faults: float = 0.05
) -> Totals:
    """Run generated pull requests one after the other; a seed determines them."""
    totals, random = Totals(), Random(seed)
    github, claude = CheckingGithub(permissions={WRITER: "write"}), ScriptedClaude(faults)
    given = settings(limits={"thread_runs_per_hour": 10_000, "settle_s": 0}, claude={"calls_per_hour": 100_000})
    with open_world(folder, replies=claude, given=given) as opened:
        world = replace(opened, github=github)
        for number in range(1, pull_requests + 1):
            one = Simulation(world, Random(random.random()), number, totals, kills=kills, faults=faults)
            github.simulation = one
            one.run(pushes)
    totals.faults += claude.failures
    totals.verdicts = claude.verdicts
    return totals


def describe(totals: Totals) -> str:
    counted = {name.replace("_", " "): value for name, value in vars(totals).items() if isinstance(value, int)}
    counted |= {f"fault: {kind}": number for kind, number in sorted(totals.faults.items())}
    counted |= {f"verdicts, {mode}": number for mode, number in sorted(totals.verdicts.items())}
    counted |= {f"error: {error}": totals.errors[error] for error in ERRORS}
    return "\n".join(f"{name:40} {value:>8}" for name, value in counted.items())

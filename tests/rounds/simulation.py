"""Reviews generated pull requests with a scripted Claude, and checks every result."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from zlib import crc32

from hls_handler.actions import EnsureCheck, InlineComment
from hls_handler.errors import Permanent
from hls_handler.github.values import ChangedFile, ReviewThread, ThreadReply
from hls_handler.handlers.changed_files import LONG_LINE, TOO_LARGE
from hls_handler.handlers.job import PromptLimits
from hls_handler.path_globs import PathFilter
from hls_handler.review.record import ReviewRecord
from hls_handler.settings.sections import Review
from tests.handlers.world import count_changes, event, pull_request
from tests.review.pushes import Reviewed, ReviewJob
from tests.rounds.claude import FAULT_NAME, Claude, visible
from tests.rounds.generated import (
    IGNORED,
    DiffLine,
    Fault,
    GeneratedPullRequest,
    Version,
    is_ignored,
)

WRITER, READER = "mona", "guest"
"""Logins of people with and without write permission."""
CUTS = ("no patch", "shortened", "unlisted")
"""Ways in which GitHub's list of files can be incomplete."""


@dataclass
class Totals:
    """Counts of all generated pull requests."""

    reviews: int = 0
    calls: int = 0
    failed: int = 0  # reviews that ended without a result
    incomplete: int = 0  # reviews that ended with a part of the changes
    comments: int = 0
    late_rounds: int = 0  # reviews from the third on that asked Claude, and with all faults raised
    late_findings: int = 0  # those of them with a new comment about a fault
    successes: int = 0  # checks
    failures: int = 0
    misled: int = 0  # successes after a plausible wrong verdict
    true_verdicts: int = 0  # that a fault is fixed or gone, with proof
    disbelieved: int = 0  # those of them after which the finding is open
    # about earlier findings, by the mode of the call
    verdicts: Counter[str] = field(default_factory=Counter)
    # "false success: ...", none of which must occur
    problems: list[str] = field(default_factory=list)

    @property
    def is_wrong(self) -> bool:
        """True after an error, more than 5 % of late rounds with a finding, or 1 % of true verdicts
        disbelieved.
        """
        is_late = self.late_findings > 0.05 * max(self.late_rounds, 60)
        return (
            bool(self.problems) or is_late or self.disbelieved > 0.01 * max(self.true_verdicts, 100)
        )


class Simulation:
    """One pull request, from its first review to its last."""

    def __init__(self, random: Random, number: int, totals: Totals, *, faults: float) -> None:
        self.random, self.number, self.totals, self.share_of_faults = random, number, totals, faults
        self.cut = random.choice((*CUTS, *[None] * 17))
        fail_on = random.choice(("high", "high", "high", None))
        tokens = 400 if random.random() < 0.3 else 20_000  # several calls for one review
        paths, settings = PathFilter((IGNORED,)), Review.model_validate({"fail_on": fail_on})
        self.limits = PromptLimits(tokens, paths, is_review=True, review=settings)
        self.made = GeneratedPullRequest(random, f"{number:020x}")
        self.reviewed = Reviewed()
        self.raised: dict[Fault, Version] = {}  # the version in which each fault was raised
        self.keys: dict[Fault, set[str]] = {}  # of the findings about each raised fault
        self.exempt: set[Fault] = set()  # dismissed by writers
        self.misled: set[Fault] = set()  # believed to be fixed after a plausible wrong verdict
        # path in the base, mark and text of the lines that Claude read
        self.shown: set[tuple[str, str, str]] = set()
        self.changes: list[str] = []  # since the first review
        self.last: Version | None = None  # of the last review
        self.is_complete = False  # it has all its replies

    def run(self, pushes: int) -> None:
        version = self.made.save()
        self.review(version, "opened")
        for _ in range(pushes):
            self.dismiss()
            self.changes += [
                self.made.change() for _ in range(self.random.choice((1, 1, 1, 2)))
            ] + ["|"]
            before, version = version, self.made.save()
            self.review(version, "edited" if version is before else "synchronize")

    def review(self, version: Version, action: str) -> None:
        now = pull_request(number=self.number, head_sha=version.sha, **count_changes(version.files))
        named = {fault.number: fault for fault in self.made.faults}
        claude = Claude(self.random, version, named, self.raised, self.share_of_faults)
        texts = {
            path: "".join(f"{line.text}\n" for line in lines)
            for path, lines in version.head.items()
        }
        before, files = self.reviewed.record, self.list_files(version)
        self.totals.reviews += 1
        try:
            received = replace(event(now), action=action)
            job = self.reviewed.review(received, files, self.limits, claude.ask, head_files=texts)
        except Permanent:
            self.totals.failed += 1
            return
        finally:
            self.totals.calls += claude.reviews
            self.totals.verdicts.update(claude.modes)
            self.shown.update(self._identify(one, version) for one in claude.shown)
            for problem in claude.problems:
                self.report("other", problem)
        comments = self._check_comments(job, version)
        self._learn(claude, version)
        self._check_calls(claude, before, version, comments)
        self._check_commit(job, claude, version)
        self.last = version

    def _learn(self, claude: Claude, version: Version) -> None:
        """Remember what the review raised and believed."""
        ledger = self.reviewed.record.ledger
        if len({entry.key for entry in ledger}) != len(ledger):
            self.report("other", "keys of the ledger repeat")
        for entry in ledger:
            for number in FAULT_NAME.findall(entry.body):
                fault = claude.named[int(number)]
                self.raised.setdefault(fault, version)
                self.keys.setdefault(fault, set()).add(entry.key)
        opened = {entry.key for entry in ledger if entry.state == "open"}
        self.misled |= {
            fault for fault in claude.misled if opened.isdisjoint(self.keys.get(fault, ()))
        }
        if claude.has_failed or not claude.reviews or self.cut is not None:
            return
        for fault in claude.refuted:
            self.totals.true_verdicts += 1
            self.totals.disbelieved += bool(opened & self.keys[fault])

    def dismiss(self) -> None:
        """Let people dismiss some of the findings."""
        self.reviewed.threads = [
            one for thread in self.reviewed.threads for one in self._dismiss(thread)
        ]

    def _dismiss(self, thread: ReviewThread) -> Sequence[ReviewThread]:
        if self.random.random() >= 0.1:
            return [thread]
        who = self.random.choice((WRITER, WRITER, READER))
        changed = self.random.choice(
            (
                replace(thread, thumbs_down=(*thread.thumbs_down, who)),
                replace(thread, is_resolved=True, resolved_by=who),
                replace(
                    thread,
                    replies=(*thread.replies, ThreadReply(who, "Won't fix, this is by design.")),
                ),
                None,  # deleted
            )
        )
        if who == WRITER and changed is not None:
            self.exempt |= {fault for fault, keys in self.keys.items() if thread.key in keys}
        return [] if changed is None else [changed]

    def list_files(self, version: Version) -> tuple[ChangedFile, ...]:
        """Return the changed files as GitHub lists them, incomplete for some pull requests."""
        is_cut = {
            file.path: self.cut is not None and crc32(file.path.encode()) % 3 == 0
            for file in version.files
        }
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

    def _identify(self, one: DiffLine, version: Version) -> tuple[str, str, str]:
        return version.renamed.get(one.path, one.path), one.mark, visible(one.line.text)

    def report(self, error: str, problem: str) -> None:
        self.totals.problems.append(f"{error}: {self.number} {problem} after {self.changes}")

    def _check_comments(self, job: ReviewJob, version: Version) -> int:
        """Check new review comments as GitHub and a reader would. Return the number of those about
        faults.
        """
        opened = {entry.key for entry in job.facts.record.ledger if entry.state == "open"}
        comments = [*job.posted.values()]
        self.totals.comments += len(comments)
        named = [
            (one, {int(number) for number in FAULT_NAME.findall(one.body)}) for one in comments
        ]
        faults = {fault.number: fault for fault in self.made.faults}
        for comment, numbers in named:
            self._check_place(comment, version)
            for fault in map(faults.__getitem__, numbers):
                keys = self.keys.setdefault(fault, set())
                if keys & opened:
                    self.report("second comment", fault.code)
                keys.add(comment.key)
        return sum(bool(numbers) for _, numbers in named)

    def _check_place(self, comment: InlineComment, version: Version) -> None:
        start, end = comment.start_line or comment.line, comment.line
        hunks = version.hunks.get(comment.path, ())
        hunk = next(
            (of for of in hunks if any((x.side, x.number) == (comment.side, end) for x in of)), ()
        )
        if start > end or not any((x.side, x.number) == (comment.side, start) for x in hunk):
            self.report("rejected position", f"{comment.path} {comment.side} {start}-{end}")
        texts = comment.path, tuple((one.mark, one.line.text) for one in hunk)
        if self.last is not None and self.is_complete and texts in self.last.count_hunks():
            self.report("raised on unchanged lines", f"{comment.path} {end}")

    def _check_commit(self, job: ReviewJob, claude: Claude, version: Version) -> None:
        """Compare the check with what Claude was shown and what it reported."""
        (action,) = (one for one in job.actions if isinstance(one, EnsureCheck))
        self.totals.failures += action.conclusion == "failure"
        unread = [one for one in version.changed if one.line.text.strip()]
        unread = [one for one in unread if self._identify(one, version) not in self.shown]
        if action.conclusion == "success":
            self.totals.successes += 1
            self._check_success(unread, version)
        missing = claude.has_failed or LONG_LINE in action.summary or TOO_LARGE in action.summary
        self.totals.incomplete += missing
        self.is_complete = not missing and self.cut is None and not unread
        found = re.search(r"^\| files \| \d+ of (\d+) \|$", action.summary, re.MULTILINE)
        needing = sum(
            file.additions + file.deletions > 0 and not is_ignored(file.path)
            for file in version.files
        )
        if self.cut is None and int(found[1] if found else 0) != needing:
            self.report("wrong coverage", f"{found and found[0]}, not {needing}")

    def _check_success(self, unread: Sequence[DiffLine], version: Version) -> None:
        if unread:
            self.report("unread success", f"{unread[0]}")
        if self.limits.review.fail_on is None:
            return
        present = [
            fault for fault in self.raised if fault in version.faults and fault not in self.exempt
        ]
        self.totals.misled += bool(self.misled.intersection(present))
        for fault in present:
            if fault not in self.misled:
                self.report("false success", fault.code)

    def _check_calls(
        self, claude: Claude, before: ReviewRecord, version: Version, comments: int
    ) -> None:
        if not claude.reviews or self.last is None or not self.is_complete:
            return
        is_known = version.count_hunks() == self.last.count_hunks()
        if is_known and not any(entry.state == "fixed" for entry in before.ledger):
            self.report("idle call", "")
        raised = {
            int(number) for entry in before.ledger for number in FAULT_NAME.findall(entry.body)
        }
        if before.rounds >= 2 and raised.issuperset(fault.number for fault in version.faults):
            self.totals.late_rounds += 1
            self.totals.late_findings += comments > 0


def simulate(*, seed: int, pull_requests: int, pushes: int = 5, faults: float = 0.05) -> Totals:
    """Review generated pull requests one after the other. A seed determines them."""
    totals, random = Totals(), Random(seed)
    for number in range(1, pull_requests + 1):
        Simulation(Random(random.random()), number, totals, faults=faults).run(pushes)
    return totals


def describe(totals: Totals) -> str:
    counted: dict[str, int] = {
        name: value for name, value in vars(totals).items() if isinstance(value, int)
    }
    counted |= {f"verdicts, {mode}": number for mode, number in sorted(totals.verdicts.items())}
    counted |= Counter(problem.partition(":")[0] for problem in totals.problems)
    return "\n".join(f"{name.replace('_', ' '):40} {value:>8}" for name, value in counted.items())

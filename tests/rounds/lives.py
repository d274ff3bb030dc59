"""Lives of pull requests: pushes over git, people, and a Claude who answers only from its prompts.

A head should be red if it has a fault that fails the check and that no person with write
permission has dismissed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from hls_handler.actions import EnsureCheck, EnsureReply
from hls_handler.analysis import Reply, ReplyFields, Usage
from hls_handler.events import REQUEST_KEY, RequestedReview
from hls_handler.github.values import ChangedFile, ReviewThread, ThreadReply
from hls_handler.handlers import pull_request_input
from hls_handler.handlers.asking import VERIFY_PROMPT, Asking
from hls_handler.handlers.handler import common_variables
from hls_handler.handlers.job import PromptLimits, Source
from hls_handler.handlers.reader import EmptyHistory
from hls_handler.prompting.render import render
from hls_handler.question import estimate_tokens
from hls_handler.review.dismissals import COMMAND, DELETED, UNDISMISSED
from hls_handler.review.ledger import is_failing
from hls_handler.review.record import LedgerEntry
from hls_handler.settings.sections import Review
from tests.engine.world import library
from tests.handlers.world import count_changes, event, pull_request, put_pull_request
from tests.review.pushes import HANDLER, Reviewed, ReviewJob
from tests.rounds.authors import Author, Edit
from tests.rounds.code import FAULTY, Files, find_calls, find_faults
from tests.rounds.prompt_reader import FAULT_NAME, ClaudeKind, Reader
from tests.rounds.repository import compare, to_texts

PROMPT = "pull_requests/analyze"
WRITER, READER = "mona", "guest"
"""Logins of people with and without write permission."""
PROMISES = (
    "Good catch, I'll change it.",
    "Fixed in abc1234.",
    "Not an issue any more, fixed in abc1234.",
    "Will do.",
)
DISMISSALS = (
    "Won't fix, this is by design.",
    "False positive.",
    "Not a bug, the caller checks this.",
)
LIMITS = PromptLimits(20_000, is_review=True, review=Review(fail_on="high", context_tokens=0))
"""Without other places of the repository: the generated functions do not call each other."""


@dataclass
class Counts:
    """Counts over all lives."""

    lives: int = 0
    heads: int = 0
    green_heads: int = 0  # that should be green
    false_red: int = 0  # of them, those that are red
    left_out: int = 0  # red ones of which a reply left the verdict out; they are not in `false_red`
    red_heads: int = 0  # that should be red
    false_green: int = 0
    second_comments: int = 0
    reviews: int = 0
    calls: int = 0
    tokens: int = 0  # of the prompts, estimated
    kinds: Counter[str] = field(default_factory=Counter)  # of bad heads
    lines: list[str] = field(default_factory=list)  # about lives with a bad head

    @property
    def false_red_share(self) -> float:
        return self.false_red / max(self.green_heads, 1)


@dataclass
class LifeJob(ReviewJob):
    """The job of a review that renders its prompts for a reader."""

    reader: Reader | None = None
    tokens: int = 0
    prompts: list[str] = field(default_factory=list)

    @property
    def asking(self) -> Asking:
        return Asking(library(), PROMPT, common_variables(self.event, PROMPT), self._send)

    def _send(self, name: str, variables: Mapping[str, object], index: int) -> Reply:
        assert self.reader is not None
        rendered = render(library(), name, variables, key=b"lives")
        self.calls += 1
        self.tokens += estimate_tokens(rendered.system) + estimate_tokens(rendered.task)
        self.prompts.append(rendered.task)
        reply: ReplyFields = self.reader.answer(rendered.task, is_second_look=name == VERIFY_PROMPT)
        return Reply(f"{name}@1", library().prompts[name].reply, reply, Usage("m"))


@dataclass
class Head:
    """A head of the pull request, with what became of its check."""

    sha: str
    files: Files
    base: Files
    base_sha: str
    changed: Sequence[ChangedFile]
    present: frozenset[int]  # faults that can occur
    faults: frozenset[int]  # those of them that would fail the check
    conclusion: str = ""
    was_false_green: bool = False


class Life:
    """One pull request, from its first review to its last. A seed determines it."""

    def __init__(self, seed: int, claude: ClaudeKind, counts: Counts, folder: Path) -> None:
        self.seed, self.counts = seed, counts
        self.random = Random(seed)
        self.author = Author(Random(seed))
        self.reviewed = Reviewed()
        self.github = self.reviewed.github
        self.reader = Reader(Random(seed), claude, self.author.faults)
        self.keys: dict[int, set[str]] = {}  # of the comments about faults that are there since
        self.raised: dict[int, str] = {}  # the line of each fault when it was raised
        self.commanded: set[int] = set()  # faults dismissed by a command
        self.refused: set[int] = set()  # faults dismissed by a writer's last reply
        self.resolved: dict[int, str] = {}  # lines of faults that were as raised then
        self.steps: list[str] = []
        self.prompts: list[str] = []
        self.bases: dict[str, str] = {}
        self.commands = 0
        self.is_bad = False
        self.head = self._make_head()

    @property
    def dismissed(self) -> set[int]:
        """The faults that a writer dismissed for good."""
        return self.commanded | self.refused

    @property
    def excused(self) -> set[int]:
        """The faults that a writer dismissed, if the line of a resolved thread is as it was then.

        It is not judged what HLS makes of it if lines beside that line have changed.
        """
        same = {number for number, text in self.resolved.items() if self._find_line(number) == text}
        return self.dismissed | same

    def run(self) -> None:
        self.counts.lives += 1
        self.review("opened")
        for _ in range(self.random.randint(4, 7)):
            self._act()
            self._end_head()
            edits = self.author.push()
            self.head = self._make_head()
            pushed = ", ".join(one.text for one in edits)
            self.steps.append(f"\n  push {len(self.author.pushed) - 1}: {pushed}")
            self.review("synchronize")
            self._follow_up(edits)
        self._end_head()
        if self.is_bad:
            self.counts.lines.append(f"life {self.seed}: {'; '.join(self.steps)}")

    def _make_head(self) -> Head:
        self.reader.omitted.clear()
        self.reader.said.clear()
        author = self.author
        texts = f"{author.base}"
        if texts not in self.bases:
            self.bases[texts] = self.github.commit(to_texts(author.base))
        sha, base_sha = self.github.commit(to_texts(author.head)), self.bases[texts]
        present = find_faults(author.head)
        failing = {one for one in present if is_failing(author.faults[one].severity, "high")}
        state = author.pushed[-1]
        changed = compare(self.github.mirrors.folder("octo/hello"), base_sha, sha)
        return Head(sha, state.head, state.base, base_sha, changed, present, frozenset(failing))

    def review(self, action: str, requested: RequestedReview | None = None) -> None:
        head = self.head
        now = pull_request(head_sha=head.sha, base_sha=head.base_sha, **count_changes(head.changed))
        received = replace(event(now), action=action)
        if requested is not None:
            received = replace(received, payload={REQUEST_KEY: {"review": requested}})
        threads = self.reviewed.threads
        self.github.permit(WRITER, "write")
        base_files = to_texts(head.base)
        put_pull_request(self.github, now, head.changed, threads=threads, base_files=base_files)
        self.github.put_files(head.sha, to_texts(head.files))
        reader = self.github.reader("octo/hello")
        job = LifeJob(received, None, first_id=self.reviewed.next_id, reader=self.reader)
        history = EmptyHistory(reviewed=self.reviewed.record)
        job.facts = pull_request_input.gather(Source(received, reader, history, LIMITS))
        HANDLER.run(job)
        self._keep(job)
        self.prompts += job.prompts
        self.counts.reviews += 1
        self.counts.calls += job.calls
        self.counts.tokens += job.tokens
        self._check_comments(job)
        self._check_conclusion(job)

    def _keep(self, job: LifeJob) -> None:
        """Keep what a review left in the database and on GitHub."""
        reviewed = self.reviewed
        reviewed.record = job.stored or reviewed.record
        replies = {one.comment_id: one.key for one in job.actions if isinstance(one, EnsureReply)}
        threads: list[ReviewThread] = []
        for thread in reviewed.threads:
            key = replies.get(thread.comment_id)
            said = thread.own_replies if key is None else (*thread.own_replies, key)
            threads.append(replace(thread, own_replies=said))
        for number, comment in job.posted.items():
            threads.append(ReviewThread(number, comment.key, False, None, (), (), (), ()))
            reviewed.next_id += 1
        reviewed.threads = threads

    def _check_comments(self, job: LifeJob) -> None:
        for number in [*self.keys]:
            if number not in self.head.present:
                del self.keys[number]
        for comment in job.posted.values():
            for number in map(int, FAULT_NAME.findall(comment.body)[:1]):
                if self.keys.get(number):
                    self.counts.second_comments += 1
                    self._report("second comment", number)
                self.keys.setdefault(number, set()).add(comment.key)
                self.raised[number] = self._find_line(number)

    def _check_conclusion(self, job: LifeJob) -> None:
        checks = [one for one in job.actions if isinstance(one, EnsureCheck)]
        if not checks:
            return
        self.head.conclusion = checks[-1].conclusion
        self.steps.append(f"{'red' if self.head.conclusion == 'failure' else self.head.conclusion}")
        must_fail = sorted(self.head.faults - self.excused)
        if must_fail and self.head.conclusion == "success":
            self.head.was_false_green = True
            self._report("false green", must_fail[0])

    def _end_head(self) -> None:
        head, counts = self.head, self.counts
        counts.heads += 1
        counts.red_heads += bool(head.faults - self.excused)
        counts.false_green += head.was_false_green
        if head.faults - self.dismissed:
            return
        counts.green_heads += 1
        if head.conclusion == "success":
            return
        blocking = [one for one in self.reviewed.record.ledger if _is_blocking(one)]
        numbers = {number for one in blocking for number in map(int, FAULT_NAME.findall(one.title))}
        if numbers & self.reader.omitted:
            counts.left_out += 1
            return
        counts.false_red += 1
        self._report("false red", min(numbers, default=0))

    def _report(self, what: str, number: int) -> None:
        ledger = self.reviewed.record.ledger
        entry = next((one for one in ledger if one.title == f"Fault {number}"), None)
        verdict = self.reader.said.get(number, "not asked")
        state = "" if entry is None else ", ".join(_describe(entry))
        self.counts.kinds[f"{what}: {verdict} ({state})"] += 1
        self.steps.append(f"** {what.upper()} of fault {number}: {verdict} ({state}) **")
        self.is_bad = True

    def _find_line(self, number: int) -> str:
        for lines in self.head.files.values():
            at = find_calls(FAULTY, lines).get(number)
            if at is not None:
                return lines[at]
        return ""

    def _follow_up(self, edits: Sequence[Edit]) -> None:
        """Let the author answer in the threads of what a push was to fix."""
        for number in {one.number for one in edits if one.kind != "other"}:
            share = self.random.random()
            if share < 0.3:
                self._resolve(number)
            elif share < 0.45:
                self._reply(number, self.random.choice(PROMISES))

    def _act(self) -> None:
        """Let people act before the next push."""
        share = self.random.random()
        open_faults = sorted(self.keys.keys() & self.head.faults)
        if share < 0.1:
            self._request("new", "/review")
        elif share < 0.12:
            self._request("full", "/review full")
        elif share < 0.15:
            self.reviewed.threads = self.reviewed.threads[1:]
            self.steps.append("the first thread is missing")
        elif not open_faults:
            return
        elif share < 0.2:
            self._resolve(self.random.choice(open_faults))
        elif share < 0.24:
            self._reply(self.random.choice(open_faults), self.random.choice(DISMISSALS))
        elif share < 0.28:
            self._dismiss(self.random.choice(open_faults))
        elif share < 0.34:
            self._reply(self.random.choice(open_faults), self.random.choice(DISMISSALS), who=READER)
        elif share < 0.4:
            self._reply(self.random.choice(open_faults), self.random.choice(PROMISES))
        elif share < 0.45 and self.resolved:
            self._unresolve(self.random.choice([*self.resolved]))
        elif share < 0.48:
            self._delete(self.random.choice(open_faults))
        elif share < 0.54 and self.dismissed & self.keys.keys():
            self._undismiss(self.random.choice(sorted(self.dismissed & self.keys.keys())))

    def _request(self, review: RequestedReview, step: str) -> None:
        self.steps.append(step)
        self.review("created", review)

    def _change_thread(self, number: int, change: Callable[[ReviewThread], ReviewThread]) -> bool:
        keys = self.keys.get(number, ())
        threads = [*self.reviewed.threads]
        at = next((index for index, one in enumerate(threads) if one.key in keys), None)
        if at is None:
            return False
        threads[at] = change(threads[at])
        self.reviewed.threads = threads
        return True

    def _resolve(self, number: int) -> None:
        """Let a writer resolve a thread: a dismissal if the line is as it was raised."""
        if not self._set_resolved(number, by=WRITER):
            return
        text = self._find_line(number)
        if number in self.head.present and self.raised.get(number) == text:
            self.resolved[number] = text
        self._request("conclude", f"resolve {number}")

    def _set_resolved(self, number: int, *, by: str | None) -> bool:
        def change(one: ReviewThread) -> ReviewThread:
            return replace(one, is_resolved=by is not None, resolved_by=by)

        return self._change_thread(number, change)

    def _unresolve(self, number: int) -> None:
        if not self._set_resolved(number, by=None):
            return
        self.resolved.pop(number, None)
        self._request("conclude", f"unresolve {number}")

    def _reply(self, number: int, text: str, who: str = WRITER) -> None:
        def add(one: ReviewThread) -> ReviewThread:
            return replace(one, replies=(*one.replies, ThreadReply(who, text)))

        if not self._change_thread(number, add):
            return
        if who == WRITER and text in DISMISSALS:
            self.refused.add(number)
        self._request("conclude", f'{who} to {number}: "{text}"')

    def _dismiss(self, number: int) -> None:
        self._store(number, COMMAND)
        self.commanded.add(number)
        self._request("conclude", f"/dismiss {number}")

    def _store(self, number: int, how: str) -> None:
        """Store what a writer did with a finding, as the handler of the event does."""
        keys, self.commands = self.keys[number], self.commands + 1
        command = f"{how}{self.commands:08x} by {WRITER}"
        ledger = tuple(
            replace(one, dismissals=(*one.dismissals, command)) if one.key in keys else one
            for one in self.reviewed.record.ledger
        )
        self.reviewed.record = replace(self.reviewed.record, ledger=ledger)

    def _delete(self, number: int) -> None:
        """Let a writer delete the comment of a finding, which dismisses it."""
        keys = self.keys[number]
        self.reviewed.threads = [one for one in self.reviewed.threads if one.key not in keys]
        self._store(number, DELETED)
        self.commanded.add(number)
        self._request("conclude", f"delete the comment on {number}")

    def _undismiss(self, number: int) -> None:
        self._store(number, UNDISMISSED)
        self.commanded.discard(number)
        self.refused.discard(number)
        self.resolved.pop(number, None)
        self._request("conclude", f"/undismiss {number}")


def _is_blocking(one: LedgerEntry) -> bool:
    return one.counts and is_failing(one.severity, "high")


def _describe(one: LedgerEntry) -> Sequence[str]:
    flags = ("has_vanished", "is_absent", "is_undecided", "has_lost_proof")
    return [one.state, *(flag for flag in flags if getattr(one, flag))]


def live(
    *,
    seed: int,
    lives: int,
    claude: ClaudeKind,
    show: Callable[[str], object] = lambda _: None,
) -> Counts:
    """Run many lives. The seed of each is `seed * 1_000_000` and its number. `show` gets bad
    ones.
    """
    counts = Counts()
    with TemporaryDirectory() as folder:
        for number in range(lives):
            known = len(counts.lines)
            run_life(seed * 1_000_000 + number, claude, counts, Path(folder))
            for line in counts.lines[known:]:
                show(line)
    return counts


def run_life(seed: int, claude: ClaudeKind, counts: Counts, folder: Path) -> Life:
    with TemporaryDirectory(dir=folder) as own:
        life = Life(seed, claude, counts, Path(own))
        life.run()
    return life


def describe_lives(counts: Counts, *, seed: int, claude: ClaudeKind) -> str:
    heads = max(counts.heads, 1)
    rows = {
        "lives": f"{counts.lives}",
        "heads": f"{counts.heads}",
        "should be green": f"{counts.green_heads}",
        "false red": f"{counts.false_red} ({100 * counts.false_red_share:.2f} %)",
        "red, verdict left out": f"{counts.left_out}",
        "should be red": f"{counts.red_heads}",
        "false green": f"{counts.false_green}",
        "second comments": f"{counts.second_comments}",
        "calls per head": f"{counts.calls / heads:.2f}",
        "prompt tokens per head": f"{counts.tokens / heads:.0f}",
    }
    table = [f"{name:24} {value:>16}" for name, value in rows.items()]
    kinds = [f"{number:5} {kind}" for kind, number in counts.kinds.most_common()]
    return "\n".join([f"seed {seed}, {claude} Claude", *table, *kinds])

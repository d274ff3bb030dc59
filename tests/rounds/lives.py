"""Lives of pull requests: an author pushes faults and fixes, people act, and a Claude answers only
from its prompts. The service itself reviews each push.

A head should be red if it has a fault that fails the check and that no person with write
permission has dismissed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from zlib import crc32

from hls_handler.analysis import RenderedPrompt, ReplyFields, UnusableReply, estimate_tokens
from hls_handler.github.values import ChangedFile
from hls_handler.handlers.job import VERIFY_PROMPT
from hls_handler.review.patches import Line, parse_patch
from hls_handler.review.record import LedgerEntry
from tests.engine.claude import INVALID, FakeClaude
from tests.engine.stand_in import file_document
from tests.engine.world import open_world, settings
from tests.handlers.conversation import REPOSITORY, open_home
from tests.handlers.world import HLS, count_changes
from tests.queue.builders import newest
from tests.rounds.authors import Author, Edit
from tests.rounds.code import FAULTY, Files, find_calls, find_faults
from tests.rounds.prompt_reader import FAULT_NAME, ClaudeKind, Reader, read_prompt
from tests.rounds.repository import compare, to_texts

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
REVIEW = {"fail_on": "high", "context_tokens": 0, "max_inline": 50}
"""Without other places of the repository: the generated functions do not call each other."""

MOST_FALSE_RED = {"perfect": 0.01, "sloppy": 0.03, "literal": 0.03, "wrong": 0}
"""The share of heads without a fault that may be red, by the kind of Claude; a wrong one may make
any red.
"""

CUTS = ("no patch", "shortened", "unlisted", "", "", "", "", "")
"""Ways in which GitHub's list of files is incomplete; it is only for a Claude that is wrong."""


@dataclass
class Counts:
    """Counts over all lives."""

    claude: ClaudeKind
    lives: int = 0
    heads: int = 0
    green_heads: int = 0  # that should be green
    false_red: int = 0  # of them, those that are red
    left_out: int = 0  # red ones of which a reply left the verdict out; they are not in `false_red`
    red_heads: int = 0  # that should be red
    comments: int = 0
    calls: int = 0
    tokens: int = 0  # of the prompts, estimated
    problems: Counter[str] = field(default_factory=Counter)  # "false green", which must not occur
    lines: list[str] = field(default_factory=list)  # about lives with a problem or a false red

    @property
    def is_wrong(self) -> bool:
        """True also if more than 1 % of comments are second ones: of a Claude that repeats
        findings, HLS does not recognise every one.
        """
        most = MOST_FALSE_RED[self.claude] * max(self.green_heads, 1)
        second = self.problems["second comment"]
        is_repeated = second > 0.01 * self.comments
        return self.problems.total() > second or is_repeated or self.false_red > most

    def describe(self) -> str:
        rows = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        rows |= self.problems
        table = [f"{name.replace('_', ' '):30} {value:>9}" for name, value in rows.items()]
        return "\n".join([f"{self.claude} Claude", *table, *self.lines[:20]])


@dataclass
class Head:
    """A head of the pull request, with what became of its check."""

    sha: str
    base_sha: str
    files: Files
    base: Files
    renamed: dict[str, str]  # path in the head -> path in the base
    changed: Sequence[ChangedFile]
    present: frozenset[int]  # faults that can occur
    faults: frozenset[int]  # those of them that would fail the check
    conclusion: str | None = None  # of the check

    def name(self, path: str) -> str:
        return self.renamed.get(path, path)

    def text(self, path: str, line: Line) -> str:
        """Return the text of a line that a prompt shows; "" if there is none."""
        if line.side == "LEFT":
            lines = self.base.get(self.name(path), [])
        else:
            lines = self.files.get(path, [])
        return lines[line.number - 1] if 0 < line.number <= len(lines) else ""

    def list_needing(self) -> list[ChangedFile]:
        """Return the files that need a review."""
        return [one for one in self.changed if one.patch and not one.path.startswith("tests/")]

    def hunks(self) -> dict[tuple[str, str, int], tuple[object, ...]]:
        """Return the hunk of each line, without the numbers."""
        hunks: dict[tuple[str, str, int], tuple[object, ...]] = {}
        for file in self.changed:
            for hunk in parse_patch(file.patch or "").hunks:
                lines = tuple((line.mark, line.text) for line in hunk.lines)
                content = (self.name(file.path), *lines)
                hunks |= {(file.path, line.side, line.number): content for line in hunk.lines}
        return hunks


def letters(text: str) -> str:
    """Return the letters, digits and underscores of a line: prompts have no invisible
    characters.
    """
    return re.sub(r"\W", "", text)


class Life:
    """One pull request, from its first review to its last. A seed determines it."""

    def __init__(self, seed: int, counts: Counts) -> None:
        self.seed, self.counts, self.random = seed, counts, Random(seed)
        self.author = Author(Random(seed))
        self.reader = Reader(Random(seed), counts.claude, self.author.faults)
        self.is_wrong = counts.claude == "wrong"
        self.cut = self.random.choice(CUTS) if self.is_wrong else ""
        self.comments: set[int] = set()  # the ids of HLS's first comments in threads
        self.threads: dict[int, list[int]] = {}  # of the faults that are there since
        self.raised: dict[int, str] = {}  # the line of each fault when it was raised
        self.dismissed: set[int] = set()  # faults that a writer dismissed for good
        self.resolved: dict[int, str] = {}  # lines of faults that were as raised then
        self.shown: set[tuple[str, str, str]] = set()  # base path, mark, letters of changed lines
        self.known: set[tuple[object, ...]] = set()  # the hunks of the last complete review
        self.again: set[str] = set()  # paths of which a prompt about the head shows lines again
        self.has_failed = False  # a call about the head had no usable reply
        self.unusable = ""  # the prompt that gets no usable reply, also when it is corrected
        self.steps: list[str] = []
        self.prompts: list[str] = []
        self.is_bad = False

    @property
    def excused(self) -> set[int]:
        """The faults that a writer dismissed, if the line of a resolved thread is as it was then.

        It is not judged what HLS makes of it if lines beside that line have changed.
        """
        same = {number for number, text in self.resolved.items() if self._find_line(number) == text}
        return self.dismissed | same

    def run(self) -> None:
        tokens = 2_000 if self.is_wrong and self.random.random() < 0.3 else 30_000
        limits = {"thread_runs_per_hour": 10_000}
        given = settings(claude={"input_tokens": tokens}, limits=limits)
        with open_world(replies=FakeClaude(self._answer), given=given) as world:
            entry = {"review": REVIEW, "paths": {"ignore": ["tests/**"]}}
            self.home = open_home(world, events=("pull_request",), **entry)
            self.home.client.permit(WRITER, "write")
            self.home.client.permit(READER, "read")
            self.head = self._make_head()
            self._review(lambda: self._push("opened"))
            for _ in range(self.random.randint(4, 7)):
                self._act()
                self._end_head()
                edits = self.author.push()
                self.head = self._make_head()
                pushed = ", ".join(edit.text for edit in edits)
                self.steps.append(f"\n  push {len(self.author.pushed) - 1}: {pushed}")
                self._review(lambda: self._push("synchronize"))
                self._follow_up(edits)
            self._end_head()
            for row in newest(world.store):
                if row.state not in ("done", "ignored") and INVALID.problem not in f"{row.reason}":
                    self._report("failed delivery", f"{row.state}: {row.reason}")
        if self.is_bad:
            self.counts.lines.append(f"life {self.seed}: {'; '.join(self.steps)}")

    def _make_head(self) -> Head:
        self.reader.omitted.clear()
        self.again.clear()
        self.has_failed = False
        author, client = self.author, self.home.client
        state = author.pushed[-1]
        sha, base_sha = client.commit(to_texts(state.head)), client.commit(to_texts(state.base))
        present = find_faults(state.head)
        failing = {one for one in present if author.faults[one].severity in ("critical", "high")}
        changed = compare(client.mirrors.folder(REPOSITORY), base_sha, sha)
        renamed = {file.path: file.previous_path or file.path for file in changed}
        files = (sha, base_sha, state.head, state.base, renamed, changed)
        return Head(*files, present, frozenset(failing))

    def _push(self, action: str) -> None:
        head = self.head
        user = {"login": WRITER, "id": 1, "type": "User"}
        self.pull = self.home.open_pull_request(
            base={"ref": "main", "sha": head.base_sha},
            head={"ref": "fix", "sha": head.sha, "label": "mona:fix", "user": user},
            files=self._list_files(),
        )
        numbers = count_changes(head.changed)
        changed = replace(self.pull.now, document={**self.pull.now.document, **numbers})
        self.home.state.change(lambda world: world.with_conversation(changed))
        self.pull.act(action)

    def _list_files(self) -> list[dict[str, Any]]:
        """Return the changed files as GitHub lists them, incomplete for some lives."""
        files: list[dict[str, Any]] = []
        for file in self.head.changed:
            document = file_document(file)
            is_cut = self.cut and crc32(file.path.encode()) % 3 == 0
            if is_cut and self.cut != "unlisted":
                first, mark, _ = (file.patch or "").partition("\n@@ ")
                document["patch"] = first if mark and self.cut == "shortened" else None
            if not is_cut or self.cut != "unlisted":
                files.append(document)
        return files or [document]  # of an empty list, HLS waits for a later one

    # --- Claude

    def _answer(self, rendered: RenderedPrompt) -> ReplyFields | UnusableReply:
        self.counts.calls += 1
        self.counts.tokens += estimate_tokens(rendered.system) + estimate_tokens(rendered.task)
        self.prompts.append(rendered.task)
        is_second_look = rendered.prompt.name == VERIFY_PROMPT
        if self.is_wrong and rendered.task != self.unusable and self.random.random() < 0.1:
            self.unusable = rendered.task
        if rendered.task == self.unusable:
            self.has_failed = self.has_failed or not is_second_look
            return INVALID
        shown = read_prompt(rendered.task)
        self.again |= shown.again.keys()
        for path, lines in [*shown.patches.items(), *shown.others.items()]:
            for line in lines:
                if letters(self.head.text(path, line)) != letters(line.text):
                    self._report("wrong text shown", f"{path} {line}")
                if line.mark != " " and not is_second_look:
                    self.shown.add((self.head.name(path), line.mark, letters(line.text)))
        return self.reader.answer(shown, is_second_look=is_second_look)

    # --- what HLS did

    def _review(self, act: Callable[[], object], *, is_push: bool = True) -> None:
        """Let something happen, and check what HLS makes of it."""
        calls = self.counts.calls
        is_complete = bool(self.known)
        act()
        self.home.world.run_all()
        if not is_push and is_complete and self.counts.calls > calls and not self.is_wrong:
            self._report("idle call")
        self._check_comments(is_push=is_push)
        self._check_conclusion()

    def _check_comments(self, *, is_push: bool) -> None:
        for number in [*self.threads]:
            if number not in self.head.present:
                del self.threads[number]
        hunks = self.head.hunks()
        for review, comment in self.pull.now.review_comments():
            is_own = review.author.login == HLS.login and comment.get("in_reply_to_id") is None
            if not is_own or comment["id"] in self.comments:
                continue
            self.comments.add(comment["id"])
            self.counts.comments += 1
            hunk = hunks.get((comment["path"], comment["side"], comment["line"]))
            if is_push and hunk in self.known and comment["path"] not in self.again:
                self._report("raised on unchanged lines", f"{comment['path']} {comment['line']}")
            for number in map(int, FAULT_NAME.findall(comment["body"])[:1]):
                if self.threads.get(number):
                    self._report("second comment", f"{number}")
                self.threads.setdefault(number, []).append(comment["id"])
                self.raised[number] = self._find_line(number)
                self.reader.old[number] = self.head.files
        own = [one for one in self.pull.now.reviews if one.author.login == HLS.login and one.body]
        if self.home.client.calls.count("POST /pulls/8/reviews") > len(own):
            self._report("rejected position")

    def _check_conclusion(self) -> None:
        run = self.home.state.world.check_runs_on(REPOSITORY, self.head.sha)[-1]
        head = self.head
        head.conclusion = run["conclusion"]
        self.steps.append("red" if head.conclusion == "failure" else f"{head.conclusion}")
        ledger = self._ledger()
        if len({entry.key for entry in ledger}) != len(ledger):
            self._report("keys of findings repeat")
        unread = [
            (file.path, line)
            for file in head.list_needing()
            for line in parse_patch(file.patch or "").lines
            if line.mark != " " and letters(line.text)
            if (head.name(file.path), line.mark, letters(line.text)) not in self.shown
        ]
        if head.conclusion == "success":
            if unread:
                self._report("success of unread lines", f"{unread[0]}")
            for number in sorted(head.faults - self.excused):
                self._report("false green", f"{number}")
        is_complete = head.conclusion in ("success", "failure") and not self.has_failed
        self.known = {*head.hunks().values()} if is_complete and not unread else set()
        files = re.search(r"^\| files \| \d+ of (\d+) \|$", run["output"]["summary"] or "", re.M)
        if files is not None and not self.cut and int(files[1]) != len(head.list_needing()):
            self._report("wrong coverage", files[0])

    def _ledger(self) -> Sequence[LedgerEntry]:
        history = self.home.world.store.repositories.history(1, HLS.login)
        return history.review(self.pull.number).ledger

    def _end_head(self) -> None:
        head, counts = self.head, self.counts
        counts.heads += 1
        counts.red_heads += bool(head.faults - self.excused)
        if head.faults - self.dismissed:
            return
        counts.green_heads += 1
        if head.conclusion == "success" or self.is_wrong:
            return
        blocking = [one for one in self._ledger() if one.counts]
        numbers = {int(number) for one in blocking for number in FAULT_NAME.findall(one.title)}
        if numbers & self.reader.omitted:
            counts.left_out += 1
            return
        counts.false_red += 1
        self._note("false red", ", ".join(map(str, sorted(numbers))))

    def _report(self, problem: str, details: str = "") -> None:
        self.counts.problems[problem] += 1
        self._note(problem, details)

    def _note(self, problem: str, details: str) -> None:
        self.steps.append(f"** {problem.upper()} {details} **")
        self.is_bad = True

    def _find_line(self, number: int) -> str:
        for lines in self.head.files.values():
            at = find_calls(FAULTY, lines).get(number)
            if at is not None:
                return lines[at]
        return ""

    # --- what people do

    def _follow_up(self, edits: Sequence[Edit]) -> None:
        """Let the author answer in the threads of what a push was to fix."""
        for number in {edit.number for edit in edits if edit.kind != "other"}:
            share = self.random.random()
            if share < 0.3:
                self._resolve(number)
            elif share < 0.45:
                self._reply(number, self.random.choice(PROMISES))

    def _act(self) -> None:
        """Let people act before the next push."""
        share = self.random.random()
        faults = sorted(self.threads.keys() & self.head.faults)
        if share < 0.1:
            self._comment("/review")
        elif share < 0.12:
            self._comment("/review full")
        elif share < 0.15 and self.comments:
            self._hide()
        elif not faults:
            return
        elif share < 0.2:
            self._resolve(self.random.choice(faults))
        elif share < 0.24:
            self._reply(self.random.choice(faults), self.random.choice(DISMISSALS))
        elif share < 0.28:
            self._command("/dismiss", self.random.choice(faults))
        elif share < 0.34:
            self._reply(self.random.choice(faults), self.random.choice(DISMISSALS), by=READER)
        elif share < 0.37:
            self._command("/dismiss", self.random.choice(faults), by=READER)
        elif share < 0.4:
            self._reply(self.random.choice(faults), self.random.choice(PROMISES))
        elif share < 0.45 and self.resolved:
            self._unresolve(self.random.choice([*self.resolved]))
        elif share < 0.48:
            self._delete(self.random.choice(faults))
        elif share < 0.54 and self.dismissed & self.threads.keys():
            number = self.random.choice(sorted(self.dismissed & self.threads.keys()))
            self._command("/undismiss", number)

    def _let(self, step: str, act: Callable[[], object]) -> None:
        self.steps.append(step)
        self._review(act, is_push=False)

    def _comment(self, text: str) -> None:
        self.known = set()  # all findings are asked about
        self._let(text, lambda: self.pull.comment(text))

    def _find_thread(self, number: int) -> int | None:
        """Return the newest thread of a fault that is still there."""
        present = {comment["id"] for _, comment in self.pull.now.review_comments()}
        threads = [thread for thread in self.threads.get(number, ()) if thread in present]
        return threads[-1] if threads else None

    def _resolve(self, number: int) -> None:
        """Let a writer resolve a thread: a dismissal if the line is as it was raised."""
        thread = self._find_thread(number)
        if thread is None:
            return
        text = self._find_line(number)
        if number in self.head.present and self.raised.get(number) == text:
            self.resolved[number] = text
        self._let(f"resolve {number}", lambda: self.pull.resolve(thread))

    def _unresolve(self, number: int) -> None:
        thread = self._find_thread(number)
        if thread is None:
            return
        self._take_back(number)
        self._let(f"unresolve {number}", lambda: self.pull.resolve(thread, is_resolved=False))

    def _take_back(self, number: int) -> None:
        self.dismissed.discard(number)
        self.resolved.pop(number, None)

    def _reply(self, number: int, text: str, by: str = WRITER) -> None:
        thread = self._find_thread(number)
        if thread is None:
            return
        if by == WRITER and text in DISMISSALS:
            self.dismissed.add(number)
        self._let(f'{by} to {number}: "{text}"', lambda: self.pull.reply(thread, text, by))

    def _command(self, command: str, number: int, by: str = WRITER) -> None:
        """Let a person dismiss a finding by its number, or take that back."""
        thread = self._find_thread(number)
        entry = next((one for one in self._ledger() if one.comment_id == thread), None)
        if thread is None or entry is None:
            return
        if by == WRITER and command == "/dismiss":
            self.dismissed.add(number)
        elif by == WRITER:
            self._take_back(number)
        text = f"{command} {entry.number}"
        self._let(f"{by}: {command} {number}", lambda: self.pull.comment(text, by))

    def _delete(self, number: int) -> None:
        """Let a writer delete the comment of a finding, which dismisses it."""
        thread = self._find_thread(number)
        if thread is not None:
            self.dismissed.add(number)
            self._let(f"delete the comment on {number}", lambda: self.pull.delete(thread))

    def _hide(self) -> None:
        """Let a thread be missing, which dismisses nothing."""
        present = {comment["id"] for _, comment in self.pull.now.review_comments()}
        threads = sorted(present & self.comments)
        if threads:
            self.steps.append("the first thread is missing")
            self.pull.hide(threads[0])


def live(
    *,
    seed: int,
    lives: int,
    claude: ClaudeKind,
    show: Callable[[str], object] = lambda _: None,
) -> Counts:
    """Run many lives. The seed of each is `seed * 1_000_000` and its number. `show` gets those
    with a problem.
    """
    counts = Counts(claude)
    for number in range(lives):
        known = len(counts.lines)
        counts.lives += 1
        Life(seed * 1_000_000 + number, counts).run()
        for line in counts.lines[known:]:
            show(line)
    return counts

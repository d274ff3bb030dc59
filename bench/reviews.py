"""Calls of Claude and tokens of reviews in rounds, relative to a full review at each event.

Two generated pull requests, a large and a small one, pass through the whole pipeline with the
shipped prompts. In the second variant, each event is a request for a full review, as `/review full`
makes one. Tokens are estimates of HLS for the rendered texts (`prompting.render.estimate_tokens`),
not counts of Claude. Claude is a fake that reports planted defects, so the ratios do not depend on
a model or a machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.row import Row
from hls_handler.analysis import (
    FindingVerdicts,
    PullRequestAnalysis,
    RenderedPrompt,
    Reply,
    UnusableReply,
    Usage,
    estimate_tokens,
)
from hls_handler.events import REQUEST_KEY, parse_event
from hls_handler.github.values import ChangedFile
from hls_handler.prompting import recorded
from hls_handler.wording import count
from tests.engine.claude import FakeClaude
from tests.engine.world import World, open_world, settings
from tests.handlers.world import compare
from tests.rounds.prompt_reader import read_prompt

NUMBER = 2
DEFECT = "applied_twice"  # in lines that Claude reports
FILE_LINES, FUNCTION_LINES = 240, 24
HUNK_LINES = 5  # lines that a hunk replaces by as many
ALL = "all seven events"
SECOND_LOOK = "first review with a second look"
SIZES = {"12 files, 600 changed lines": (12, 5), "2 files, 40 changed lines": (2, 2)}
"""Files, and hunks of each."""
GUIDANCE = "Money is an integer number of cents. Public functions raise ValueError.\n" * 8
LIMITS = {
    # with blocks that share a name with the push, up to 1,000 tokens: all lines here share one
    "one changed hunk": (0.22, 0.9),
    "rebase": (0.0, 0.0),
    "title edit": (0.0, 0.0),
    "fifth round": (0.25, 0.9),
    ALL: (0.3, 0.7),
}
"""Limits on the ratio for the large and for the small pull request."""
ROUNDS = (
    "first review",
    "one changed hunk",
    "rebase",
    "title edit",
    "third round",
    "fourth round",
    "fifth round",
)
"""Events in their order: each of the last three is a push with one changed hunk; the last has a new
defect.
"""


@dataclass
class _CountingReviewer(FakeClaude):
    """Reports each planted defect in the patches, and counts calls and estimated tokens."""

    calls: int = 0
    tokens: int = 0

    def ask(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Reply | UnusableReply:
        assert correction is None
        name = rendered.prompt.name
        reply = _VERDICTS if name == "pull_requests/verify" else _review(rendered.task)
        texts = (
            rendered.system,
            rendered.task,
            json.dumps(rendered.schema),
            reply.model_dump_json(),
        )
        self.calls += 1
        self.tokens += sum(map(estimate_tokens, texts))
        return Reply(
            rendered.prompt.id, rendered.prompt.reply, reply, Usage(self.model, cost_usd=0.001)
        )


_VERDICTS = FindingVerdicts(verdicts=[])


def _review(task: str) -> PullRequestAnalysis:
    findings: list[dict[str, object]] = [
        {
            "path": path,
            "side": "RIGHT",
            "start_line": None,
            "line": line.number,
            "quote": line.text,
            "severity": "high",
            "category": "bugs",
            "confidence": 0.9,
            "title": "The rate is applied twice",
            "body": "For an order with a discount, the result is too small.",
            "suggestion": None,
            "continues": None,
            "rests_on": [],
            "look_up": [],
        }
        for path, lines in read_prompt(task).patches.items()
        for line in lines
        if line.mark == "+" and DEFECT in line.text
    ]
    known = {"type": "feature", "summary": "It changes how rates are computed.", "earlier": []}
    return PullRequestAnalysis.model_validate(
        {**known, "findings": findings, "suggested_labels": []}
    )


@dataclass
class _PullRequest:
    files: int
    hunks: int
    base: dict[str, list[str]] = field(default_factory=dict)
    head: dict[str, list[str]] = field(default_factory=dict)
    title: str = "Compute rates once"

    def __post_init__(self) -> None:
        for number in range(self.files):
            path = f"src/billing/module_{number}.py"
            self.base[path] = [
                (
                    _code(f"{number}_{line}")
                    if line % FUNCTION_LINES
                    else f"def total_{number}_{line}(order, currency):\n"
                )
                for line in range(FILE_LINES)
            ]
            self.head[path] = [*self.base[path]]
            for hunk in range(self.hunks):
                self._change(path, hunk, HUNK_LINES, "new")
        first = next(iter(self.head))
        self.head[first][self._start(0)] = _code(f"0_{DEFECT}")

    def apply(self, name: str) -> None:
        """Make the change of a round."""
        last = [*self.head][-1]
        if name == "rebase":
            for path, lines in self.base.items():
                added = [_code(f"base_{number}") for number in range(9)]
                lines[:0], self.head[path][:0] = added, added
        elif name == "title edit":
            self.title = "Compute each rate once"
        elif name != "first review":
            self._change(last, 1, 1, DEFECT if name == ROUNDS[-1] else name.replace(" ", "_"))

    def _start(self, hunk: int) -> int:
        return 20 + hunk * (FILE_LINES - 20) // self.hunks

    def _change(self, path: str, hunk: int, lines: int, word: str) -> None:
        start = self._start(hunk) + len(self.head[path]) - FILE_LINES
        self.head[path][start : start + lines] = [
            _code(f"{word}_{start + number}") for number in range(lines)
        ]

    def changed(self) -> tuple[ChangedFile, ...]:
        files = [compare(path, self.base[path], lines) for path, lines in self.head.items()]
        return tuple(files)


def _code(name: str) -> str:
    return f"    rate_{name} = compute_rate(order, currency, rounding=ROUND_HALF_UP)\n"


def measure(folder: Path, *, sizes: Mapping[str, tuple[int, int]] = SIZES) -> tuple[Row, ...]:
    return tuple(row for title, size in sizes.items() for row in _compare(folder, title, *size))


def _compare(folder: Path, title: str, files: int, hunks: int) -> Iterator[Row]:
    ours = _run(folder / f"rounds-{files}", _PullRequest(files, hunks), is_full=False)
    full = _run(folder / f"full-{files}", _PullRequest(files, hunks), is_full=True)
    shown = {
        name: (ours[name], full[name])
        for name in ROUNDS
        if name not in ("third round", "fourth round")
    }
    first = ROUNDS[0]
    made = _PullRequest(files, hunks)
    checked = _run(folder / f"second-{files}", made, is_full=False, rounds=(first,), fails=True)
    shown[SECOND_LOOK] = checked[first], full[first]
    shown[ALL] = _add(ours), _add(full)
    for name, ((calls, tokens), (full_calls, full_tokens)) in shown.items():
        full_review = f"{count(full_calls, 'call')}, {full_tokens:,} tokens"
        details = f"{count(calls, 'call')}, {tokens:,} tokens; full review: {full_review}"
        required = LIMITS[name][files < 12] if name in LIMITS else None
        yield Row(
            f"tokens, {name}, {title}", tokens / full_tokens, "at most", required, None, details
        )


def _add(counts: dict[str, tuple[int, int]]) -> tuple[int, int]:
    return sum(calls for calls, _ in counts.values()), sum(tokens for _, tokens in counts.values())


def _run(
    folder: Path,
    made: _PullRequest,
    *,
    is_full: bool,
    rounds: Sequence[str] = ROUNDS,
    fails: bool = False,
) -> dict[str, tuple[int, int]]:
    """Return (calls, tokens) of each round. Defects that fail the check get a second look."""
    folder.mkdir()
    given = settings(limits={"settle_s": 0})
    fail_on = "high" if fails else None
    review = given.review.model_copy(update={"fail_on": fail_on})
    given = given.model_copy(update={"review": review})
    reviewer = _CountingReviewer([])
    counts: dict[str, tuple[int, int]] = {}
    with open_world(folder, replies=reviewer, given=given) as world:
        for number, name in enumerate(rounds):
            before = reviewer.calls, reviewer.tokens
            made.apply(name)
            _send(world, made, number, name, is_full=is_full)
            counts[name] = reviewer.calls - before[0], reviewer.tokens - before[1]
    return counts


def _send(world: World, made: _PullRequest, number: int, name: str, *, is_full: bool) -> None:
    payload: Any = json.loads(recorded.load("pull_request.opened").body)
    action = {"first review": "opened", "title edit": "edited"}.get(name, "synchronize")
    if action == "edited":
        payload["changes"] = {"title": {"from": "Compute rates once"}}
    if is_full:
        action, payload[REQUEST_KEY] = "synchronize", {"review": "full"}
    sha, files = f"{number + 1:040x}", made.changed()
    payload |= {"action": action, "number": NUMBER}
    added, deleted = sum(file.additions for file in files), sum(file.deletions for file in files)
    payload["pull_request"] |= {"number": NUMBER, "title": made.title, "changed_files": len(files)}
    payload["pull_request"] |= {"additions": added, "deletions": deleted}
    payload["pull_request"]["head"]["sha"] = sha
    body = json.dumps(payload).encode()
    pull_request = parse_event("pull_request", name, body).pull_request
    assert pull_request is not None
    world.github.put_pull_request(pull_request, *files)
    world.github.put_files(pull_request.base_ref, {"AGENTS.md": GUIDANCE})
    world.github.commit({path: "".join(lines) for path, lines in made.head.items()}, sha)
    world.accept("pull_request.opened", guid=name, head_sha=sha, action=action, body=body)
    finished = world.finish()
    assert finished.state == "done", finished

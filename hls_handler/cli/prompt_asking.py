"""Run a prompt again on finished deliveries and compare the replies (`hls prompts compare --ask`)."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import typer

from hls_handler.analysis import Usage
from hls_handler.cli.options import abort, fail
from hls_handler.cli.prompt_finding import get_prompt, load_library
from hls_handler.cli.say import print_line
from hls_handler.clients.claude import Claude, request_schema
from hls_handler.clients.claude_reply import cost_usd
from hls_handler.errors import DependencyDown, PromptError, SettingsError, StepFailed
from hls_handler.prompting.library import Library, Prompt
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.prompting.tokens import estimate_tokens
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.retired import resolve_model
from hls_handler.storage import Storage
from hls_handler.work.asking import PROMPT_SECRET
from hls_handler.work.comparison import Comparison, Pair, is_named, pair
from hls_handler.work.rerun import Stored, rendered, run_again, stored_for


@dataclass(frozen=True, slots=True)
class RerunRequest:
    """Arguments of `hls prompts compare --ask`."""

    prompt: str  # name or id
    other: str | None  # only deliveries that this prompt answered; None: any prompt
    since: datetime  # only deliveries received since then
    limit: int  # maximum number of deliveries, newest first
    confirmed: bool  # do not ask for confirmation of the cost
    to_stderr: bool  # print messages to standard error, because standard output is for JSON


@dataclass(frozen=True, slots=True)
class _Plan:
    """The questions to ask."""

    prompt: Prompt
    library: Library
    key: bytes
    questions: tuple[tuple[Stored, RenderedPrompt], ...]
    failed: int  # number of deliveries for which the prompt could not be rendered


def rerun_prompt(settings: Settings, store: Storage, request: RerunRequest) -> Comparison:
    """Print the cost, ask for confirmation, and ask Claude.

    Exits with 1 if the user declines, and with 2 if standard input is not a terminal and `confirmed` is not set.
    """
    plan = _plan(settings, store, request)
    if not plan.questions:
        return Comparison((), +Counter(failed=plan.failed))
    print_line(_describe_cost(settings, plan), err=request.to_stderr)
    if not request.confirmed:
        if not sys.stdin.isatty():
            abort(["standard input is not a terminal, so the cost cannot be confirmed; add --yes to confirm it"])
        if not typer.confirm("Ask Claude?", err=request.to_stderr):
            fail("Claude was not asked")
    try:
        claude = Claude(settings.claude, clock=time.monotonic, now=lambda: datetime.now(UTC))
    except SettingsError as exc:
        abort(exc.problems)
    with closing(claude):
        return _ask_all(plan, claude, pause_s=1 / settings.claude.requests_per_second)


def _plan(settings: Settings, store: Storage, request: RerunRequest) -> _Plan:
    library = load_library(settings)
    prompt = get_prompt(library, request.prompt)
    if not prompt.on:
        abort(
            [f"{prompt.name} has no events of its own, because it follows another prompt; compare that prompt instead"]
        )
    key, table = store.database.secret(PROMPT_SECRET), RepositoryTable(settings)
    questions: list[tuple[Stored, RenderedPrompt]] = []
    failed = 0
    for row in store.deliveries.with_checkpoint("ask", since=request.since):
        stored = stored_for(store, row, prompt, library, table)
        if stored is None or not (request.other is None or is_named(request.other, stored.posted.ran.prompt_id)):
            continue
        try:
            questions.append((stored, rendered(stored, library, key)))
        except PromptError as exc:
            _print_failure(stored, exc)
            failed += 1
        if len(questions) == request.limit:
            break
    return _Plan(prompt, library, key, tuple(questions), failed)


def _describe_cost(settings: Settings, plan: _Plan) -> str:
    prompt, count = plan.prompt, len(plan.questions)
    model = resolve_model(prompt.model or settings.claude.model)
    tokens = sum(
        estimate_tokens(text)
        for _, question in plan.questions
        for text in (question.system, question.task, json.dumps(request_schema(question.schema)))
    )
    output_tokens = count * (prompt.max_tokens or settings.claude.max_tokens)
    min_usd = cost_usd(Usage(model, input_tokens=tokens))
    max_usd = cost_usd(Usage(model, input_tokens=tokens, output_tokens=output_tokens))
    cost = "unknown cost" if min_usd is None or max_usd is None else f"{min_usd:.6f} to {max_usd:.6f} USD"
    follow_up = f", and more if {prompt.then.prompt} follows" if prompt.then is not None else ""
    questions = f"{count} question{'s' * (count != 1)}"
    return f"{prompt.id}: {questions} to {model}, about {tokens} input tokens; {cost}{follow_up}; nothing is posted"


def _ask_all(plan: _Plan, claude: Claude, *, pause_s: float) -> Comparison:
    pairs: list[Pair] = []
    excluded = Counter(failed=plan.failed)
    for number, (stored, _) in enumerate(plan.questions):
        if number:
            time.sleep(pause_s)
        try:
            pairs.append(pair(stored.row, run_again(stored, plan.library, claude, plan.key), stored.posted))
        except DependencyDown as exc:  # the remaining questions would fail, too
            print_line(f"{exc}; {exc.remedy}", err=True)
            excluded["not asked"] = len(plan.questions) - number
            break
        except (StepFailed, PromptError) as exc:
            _print_failure(stored, exc)
            excluded["failed"] += 1
    return Comparison(tuple(pairs), +excluded)


def _print_failure(stored: Stored, exc: Exception) -> None:
    print_line(f"{stored.row.guid[:8]}: {exc}", err=True)

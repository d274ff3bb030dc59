"""Asking a prompt again, about deliveries that are done: which they are, what it costs, and what came of it."""

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
from hls_handler.cli.options import fail, refuse
from hls_handler.cli.prompt_finding import find_library, find_prompt
from hls_handler.cli.say import say
from hls_handler.clients.claude import Claude, request_schema
from hls_handler.clients.prices import cost_usd
from hls_handler.errors import DependencyDown, PromptError, SettingsError, StepFailed
from hls_handler.prompting.library import Library, Prompt
from hls_handler.prompting.render import Rendered
from hls_handler.prompting.tokens import estimate_tokens
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.retired import current_model
from hls_handler.store import Store
from hls_handler.work.asking import PROMPT_SECRET
from hls_handler.work.comparison import Comparison, Pair, is_named, pair
from hls_handler.work.rerun import Stored, rendered, run_again, stored_for


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person wants to have asked."""

    prompt: str  # a name or an id
    other: str | None  # of the deliveries that this prompt answered; None: whichever did
    since: datetime  # of those that came since then
    most: int  # that many of them, the newest first
    agreed: bool  # to the cost, whatever it is
    quiet: bool  # on standard output, where JSON is to stand


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be asked."""

    prompt: Prompt
    library: Library
    key: bytes
    chosen: tuple[tuple[Stored, Rendered], ...]
    failed: int  # could not even be rendered


def ask_again(settings: Settings, store: Store, wanted: Wanted) -> Comparison:
    """Tell the cost, have it agreed to, and ask. Exits with 1 if it is not agreed to, and with 2 if it cannot be."""
    plan = _plan(settings, store, wanted)
    if not plan.chosen:
        return Comparison((), +Counter(failed=plan.failed))
    say(_announcement(settings, plan), err=wanted.quiet)
    if not wanted.agreed:
        if not sys.stdin.isatty():
            refuse(["nobody is there to agree to that; say --yes"])
        if not typer.confirm("Ask?", err=wanted.quiet):
            fail("not asked")
    try:
        claude = Claude(settings.claude, clock=time.monotonic, now=lambda: datetime.now(UTC))
    except SettingsError as exc:
        refuse(exc.problems)
    with closing(claude):
        return _answers(plan, claude, pause_s=1 / settings.claude.requests_per_second)


def _plan(settings: Settings, store: Store, wanted: Wanted) -> _Plan:
    library = find_library(settings)
    prompt = find_prompt(library, wanted.prompt)
    if not prompt.on:
        refuse([f"{prompt.name} is for no event of its own: it sees the reply of another, so compare that one"])
    key, table = store.secret(PROMPT_SECRET), RepositoryTable(settings)
    chosen: list[tuple[Stored, Rendered]] = []
    failed = 0
    for row in store.deliveries_with_step("ask", since=wanted.since):
        found = stored_for(store, row, prompt, library, table)
        if found is None or not (wanted.other is None or is_named(wanted.other, found.posted.ran.prompt_id)):
            continue
        try:
            chosen.append((found, rendered(found, library, key)))
        except PromptError as exc:
            _say_failed(found, exc)
            failed += 1
        if len(chosen) == wanted.most:
            break
    return _Plan(prompt, library, key, tuple(chosen), failed)


def _announcement(settings: Settings, plan: _Plan) -> str:
    """What it will cost, before it does."""
    prompt, count = plan.prompt, len(plan.chosen)
    model = current_model(prompt.model or settings.claude.model)
    tokens = sum(
        estimate_tokens(text)
        for _, request in plan.chosen
        for text in (request.system, request.task, json.dumps(request_schema(request.schema)))
    )
    longest = count * (prompt.max_tokens or settings.claude.max_tokens)
    cheapest = cost_usd(Usage(model, input_tokens=tokens))
    dearest = cost_usd(Usage(model, input_tokens=tokens, output_tokens=longest))
    cost = "unknown cost" if cheapest is None or dearest is None else f"{cheapest:.6f} to {dearest:.6f} USD"
    more = f", and more where {prompt.then.prompt} follows" if prompt.then is not None else ""
    times = f"{count} time{'s' * (count != 1)}"
    return f"{prompt.id} would be asked {times}, by {model}: about {tokens} tokens in; {cost}{more}; nothing is posted"


def _answers(plan: _Plan, claude: Claude, *, pause_s: float) -> Comparison:
    pairs: list[Pair] = []
    left_out = Counter(failed=plan.failed)
    for number, (stored, _) in enumerate(plan.chosen):
        if number:
            time.sleep(pause_s)
        try:
            pairs.append(pair(stored.row, run_again(stored, plan.library, claude, plan.key), stored.posted))
        except DependencyDown as exc:  # which holds for the others as well
            say(f"{exc}; {exc.remedy}", err=True)
            left_out["not asked"] = len(plan.chosen) - number
            break
        except (StepFailed, PromptError) as exc:
            _say_failed(stored, exc)
            left_out["failed"] += 1
    return Comparison(tuple(pairs), +left_out)


def _say_failed(stored: Stored, exc: Exception) -> None:
    say(f"{stored.row.guid[:8]}: {exc}", err=True)

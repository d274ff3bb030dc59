"""Plans a triage run: chooses open issues, says why others are skipped, and forecasts the cost.
Nothing is written, and Claude is not asked.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from hls_handler.analysis import Usage
from hls_handler.claude.prices import with_price
from hls_handler.claude.provider import request_schema
from hls_handler.deliveries import NewDelivery
from hls_handler.engine.asking import PROMPT_SECRET
from hls_handler.errors import HlsError, PromptError, StepFailed
from hls_handler.events import Account, parse_event
from hls_handler.github.client import ReadOnlyGithub, make_opened
from hls_handler.github.comments import is_by
from hls_handler.github.reader import GithubReader
from hls_handler.prompting.prompt import Library
from hls_handler.question import RenderedPrompt, estimate_tokens
from hls_handler.reports.estimate import TYPICAL_ISSUE, estimate_largest_call, name_model
from hls_handler.routing import Ignored, Router, Rule, from_envelope, parse_envelope
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.triage import PAST, NewRun, PastCalls, Progress, TriageRun
from hls_handler.trials.replay import NotRepeatable, read_unstored
from hls_handler.trials.trial import Trial
from hls_handler.untrusted.cleaning import clean_title
from hls_handler.web.webhook import WebhookHeaders, new_delivery

SPREAD_S = 6.0
"""Time between the beginnings of two issues of a run: 10 a minute. GitHub allows about 500 writes
an hour.
"""
CALL_S = 10.0  # from the claim of a delivery to its end, roughly

SAMPLE = 10
"""Issues whose prompt is rendered for the forecast. It takes up to six requests for each."""

MIN_CACHED_TOKENS = 1024
"""Claude's prompt cache keeps longer system prompts.
https://platform.claude.com/docs/en/build-with-claude/prompt-caching
"""

PULL_REQUEST = "pull request"
LOCKED = "locked"
PROCESSED = "processed already"
SETTLED = "settled by people"


class CannotPlan(HlsError):
    """There is no run to start; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The options of a run."""

    repository: str
    most_issues: int
    max_usd: float
    comments: bool


@dataclass(frozen=True, slots=True)
class PlannedIssue:
    number: int
    title: str  # cleaned and redacted
    skipped: str | None  # the reason by which skipped issues are counted; None: it is processed
    why: str = ""  # more about it, as a sentence
    # None if skipped
    delivery: NewDelivery | None = field(default=None, repr=False)
    rule: Rule | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Forecast:
    calls: float
    input_tokens: int
    output_tokens: int
    typical_usd: float | None
    max_usd: float  # at most
    minutes: float


@dataclass(frozen=True, slots=True)
class Plan:
    terms: Terms
    repository_id: int
    continued: TriageRun | None  # the unfinished run that goes on
    issues: Sequence[PlannedIssue]  # without pull requests
    skipped: Mapping[str, int]  # number by reason, pull requests included
    forecast: Forecast
    is_dry_run: bool = False  # by `features.dry_run`
    switched_off: Sequence[str] = ()  # sentences about what settings do not let it write
    writes_nothing: bool = False  # because all of it is switched off

    @property
    def chosen(self) -> Sequence[PlannedIssue]:
        return [one for one in self.issues if one.skipped is None]

    @property
    def run(self) -> NewRun:
        terms = self.terms
        return NewRun(
            self.repository_id,
            terms.repository,
            terms.most_issues,
            terms.max_usd,
            terms.comments,
            self.skipped,
        )


class Planner:
    """Reads a repository, and plans a run of it."""

    def __init__(
        self, store: Storage, settings: Settings, library: Library, github: ReadOnlyGithub
    ) -> None:
        self._store = store
        self._settings = settings
        self._library = library
        self._github = github

    def plan(self, terms: Terms) -> Plan:
        """Return the plan. Raises `CannotPlan`, a `StepFailed` of GitHub, or `StoreUnavailable`."""
        bot = self._github.fetch_bot_account()
        reader = self._github.reader(terms.repository, bot=bot)
        document = self._github.repository_document(terms.repository)
        terms = replace(terms, repository=str(document["full_name"]))  # it may be an old name
        repository_id = int(document["id"])
        before = self._find_unfinished(repository_id, terms)
        choice = _Choice(self._store, self._settings, self._library, bot, reader, document)
        choice.choose(terms, before)
        past = self._find_past_calls(choice.chosen)
        samples = self._render(choice.chosen[:SAMPLE], reader, bot)
        forecast = make_forecast(self._settings, choice.chosen, samples, past, terms.max_usd)
        continued = before.run if before is not None else None
        return Plan(
            terms,
            repository_id,
            continued,
            choice.issues,
            +choice.skipped,  # without zeros
            forecast,
            choice.is_dry_run,
            *choice.find_switched_off(terms),
        )

    def _find_unfinished(self, repository_id: int, terms: Terms) -> Progress | None:
        last = self._store.triage.find_last(repository_id)
        if last is None:
            return None
        progress = self._store.triage.load_progress(last)
        is_over = progress.state == "over budget" and progress.is_used_up
        if is_over and terms.max_usd <= last.max_usd:
            raise CannotPlan(
                f"run {last.id} has used up its {last.max_usd:g} USD: continue it with a higher"
                f" --max-usd, or take it back with `hls triage --undo {last.id}`"
            )
        return progress if progress.state in ("running", "over budget") else None

    def _find_past_calls(self, chosen: Sequence[PlannedIssue]) -> PastCalls:
        rule = chosen[0].rule if chosen else None
        prompt = rule.prompt if rule is not None else ""
        return self._store.triage.find_past_calls(prompt, since=self._store.now() - PAST)

    def _render(
        self, chosen: Sequence[PlannedIssue], reader: GithubReader, bot: Account
    ) -> Mapping[int, RenderedPrompt]:
        key = self._store.database.secret(PROMPT_SECRET)
        found: dict[int, RenderedPrompt] = {}
        for one in chosen:
            new = one.delivery
            rule = one.rule
            assert new is not None
            assert rule is not None
            event = replace(parse_event("issues", "", new.body), is_recent=True)
            history = self._store.repositories.history(new.repository_id, bot.login)
            with suppress(StepFailed, PromptError, NotRepeatable):
                source = read_unstored(event, reader, self._settings, self._library, rule, history)
                trial = Trial(source, self._library, rule.prompt, key)
                found[one.number] = trial.render_requests()[0]
        return found


class _Choice:
    """Decides for each open issue whether a run processes it."""

    def __init__(
        self,
        store: Storage,
        settings: Settings,
        library: Library,
        bot: Account,
        reader: GithubReader,
        document: Mapping[str, Any],
    ) -> None:
        self._store = store
        self._settings = settings
        self._library = library
        self._bot = bot
        self._reader = reader
        self._document = document
        table = RepositoryTable(settings)
        self._router = Router(settings, table, library, (bot,))
        entry = table.find(str(document["full_name"]))
        self._entry = entry
        self.is_dry_run = entry is not None and entry.features.dry_run
        self.issues: list[PlannedIssue] = []
        self.skipped: Counter[str] = Counter()

    @property
    def chosen(self) -> Sequence[PlannedIssue]:
        return [one for one in self.issues if one.skipped is None]

    def find_switched_off(self, terms: Terms) -> tuple[Sequence[str], bool]:
        """Return sentences about labels, and wanted comments, that the settings switch off; and
        whether nothing is left to write.
        """
        entry = self._entry
        if entry is None:
            return (), False
        wanted = [("labels", "auto_labeling")]
        if terms.comments:
            wanted.append(("comments", "auto_commenting"))
        off = [
            f"{what} are switched off by {entry.where(f'features.{name}', self._settings)}"
            for what, name in wanted
            if not getattr(entry.features, name)
        ]
        return off, len(off) == len(wanted)

    def choose(self, terms: Terms, before: Progress | None) -> None:
        """Fill `issues` until there are as many as the run may have."""
        taken = set[int]()
        if before is not None:
            taken = {one.number for one in before.issues if not one.is_over_budget}
        room = terms.most_issues - len(taken)
        run = before.run.id if before is not None else None
        chosen = 0
        for found in self._find(taken, run):
            if chosen >= room:
                return
            self.issues.append(found)
            if found.skipped is None:
                chosen += 1
            else:
                self.skipped[found.skipped] += 1

    def _find(self, taken: set[int], run: int | None) -> Iterator[PlannedIssue]:
        for page in self._reader.open_documents():
            listed = [one for one in page if one.get("pull_request") is None]
            self.skipped[PULL_REQUEST] += len(page) - len(listed)
            numbers = [int(one["number"]) for one in listed]
            processed = self._store.triage.find_processed(
                int(self._document["id"]), numbers, but=run, in_dry_runs=self.is_dry_run
            )
            for one in listed:
                if one["number"] not in taken:
                    yield self._decide(one, processed)

    def _decide(self, document: Mapping[str, Any], processed: frozenset[int]) -> PlannedIssue:
        number = int(document["number"])
        title = clean_title(str(document.get("title") or ""))
        if document.get("locked"):
            return PlannedIssue(number, title, LOCKED)
        if number in processed:
            return PlannedIssue(number, title, PROCESSED)
        opened = make_opened(self._document, document)
        body = json.dumps(opened.payload).encode()
        envelope = parse_envelope(body)
        routed = self._router.route(from_envelope("issues", envelope))
        if isinstance(routed, Ignored):
            return PlannedIssue(number, title, routed.kind, routed.reason)
        assert isinstance(routed, Rule)  # the opening of an issue is no command and no correction
        settled = self._find_settled(number, routed)
        if settled:
            return PlannedIssue(number, title, SETTLED, settled)
        headers = WebhookHeaders("issues", "", b"", is_form=False, content_length=None)
        new = new_delivery(headers, envelope, routed, body, self._settings, request_id="")
        return PlannedIssue(number, title, None, "", new, routed)

    def _find_settled(self, number: int, rule: Rule) -> str:
        """Return what a person set or removed of the labels that HLS would set; "" if nothing."""
        groups = self._library.label_groups("issues", rule.effective.labels.assess)
        for event in self._reader.timeline(number):
            actor = event.actor
            if event.label is None or actor is None or event.label.casefold() not in groups:
                continue
            if actor.is_bot or is_by(actor, self._bot):
                continue
            return f"{actor.login} {DONE.get(event.event, 'changed')} {event.label}"
        return ""


DONE = {"labeled": "set", "unlabeled": "removed"}


def make_forecast(
    settings: Settings,
    chosen: Sequence[PlannedIssue],
    samples: Mapping[int, RenderedPrompt],
    past: PastCalls,
    max_usd: float,
) -> Forecast:
    """Return what a run needs: tokens of the sampled prompts, scaled by the length of the other
    issues, and replies as long as past ones. The system prompt is read from Claude's cache after
    the first call.
    """
    minutes = (max(len(chosen) - 1, 0) * SPREAD_S + CALL_S) / 60
    if not samples:
        return Forecast(0, 0, 0, None, max_usd if chosen else 0.0, minutes if chosen else 0.0)
    first = next(iter(samples.values()))
    lengths = {one.number: _count_text(one) for one in chosen}
    asked = {number: _count_task(one) for number, one in samples.items()}
    besides = fmean(tokens - lengths[number] for number, tokens in asked.items())
    tasks = sum(asked.get(number, besides + length) for number, length in lengths.items())
    calls = len(chosen) * past.calls_per_issue
    tasks *= past.calls_per_issue
    system = estimate_tokens(first.system)
    output = round(calls * (past.output_tokens or TYPICAL_ISSUE.output_tokens))
    is_cached = system >= MIN_CACHED_TOKENS
    of_system = round(calls * system)
    written = system if is_cached and not past.is_recent else 0
    read = of_system - written if is_cached else 0
    model = name_model(settings.claude, first.prompt)
    usage = Usage(
        model,
        input_tokens=round(tasks) + of_system - read - written,
        cache_write_tokens=written,
        cache_read_tokens=read,
        output_tokens=output,
    )
    typical = with_price(_scale_down(usage, calls), settings.claude).cost_usd
    largest = estimate_largest_call(settings.claude, first.prompt).cost_usd or 0.0
    return Forecast(
        calls,
        usage.all_input_tokens,
        output,
        None if typical is None else min(typical * calls, max_usd),
        min(largest * calls, max_usd),
        minutes,
    )


def _scale_down(usage: Usage, calls: float) -> Usage:
    """Return the usage of one call on average: the price of some models depends on its length."""
    return replace(
        usage,
        input_tokens=round(usage.input_tokens / calls),
        cache_write_tokens=round(usage.cache_write_tokens / calls),
        cache_read_tokens=round(usage.cache_read_tokens / calls),
        output_tokens=round(usage.output_tokens / calls),
    )


def _count_task(rendered: RenderedPrompt) -> int:
    schema = json.dumps(request_schema(rendered.schema))
    return estimate_tokens(rendered.task) + estimate_tokens(schema)


def _count_text(issue: PlannedIssue) -> int:
    new = issue.delivery
    assert new is not None
    body = parse_event("issues", "", new.body).issue
    assert body is not None
    return estimate_tokens(f"{body.title}\n{body.body}")

"""Processes open issues that are older than HLS as new ones, and takes that back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from msgspec.structs import replace as replace_struct

from hls_handler.batches.preview import SAMPLE, CannotPlan, Preview, make_forecast
from hls_handler.deliveries import UNDO, WRITTEN, NewDelivery
from hls_handler.engine.asking import PROMPT_SECRET
from hls_handler.errors import PromptError, StepFailed
from hls_handler.events import parse_event
from hls_handler.github.client import ReadOnlyGithub, make_opened
from hls_handler.github.comments import is_by
from hls_handler.github.reader import GithubReader
from hls_handler.prompting.prompt import Library
from hls_handler.question import RenderedPrompt
from hls_handler.routing import Ignored, Router, Rule, from_envelope, parse_envelope
from hls_handler.settings.effective import EffectiveSettings, RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.batches import UNDO_SUFFIX, Batch, BatchDelivery, NewBatch, Progress
from hls_handler.trials.replay import NotRepeatable, read_unstored
from hls_handler.trials.trial import Trial
from hls_handler.web.webhook import WebhookHeaders, new_delivery

PULL_REQUEST = "pull request"
LOCKED = "locked"
PROCESSED = "processed already, or in a batch"
SETTLED = "a person set or removed a label that HLS would set"
DRY_RUN = "dry run: Claude is asked and paid, and nothing is written (features.dry_run)"


@dataclass(frozen=True, slots=True)
class Terms:
    repository: str
    limit: int  # issues
    max_usd: float
    comments: bool


@dataclass(frozen=True, slots=True)
class ChosenIssue:
    delivery: NewDelivery
    rule: Rule


class Planner:
    """Reads the open issues of a repository, and plans a batch of them."""

    def __init__(
        self,
        store: Storage,
        settings: Settings,
        effective: EffectiveSettings,
        library: Library,
        github: ReadOnlyGithub,
    ) -> None:
        self._store = store
        self._settings = settings
        self._effective = effective
        self._library = library
        self._github = github
        self._bot = github.fetch_bot_account()
        self._router = Router(settings, RepositoryTable(settings), library, (self._bot,))

    def plan(self, terms: Terms) -> Preview:
        """Return the preview. Raises `CannotPlan`, a `StepFailed` of GitHub, or
        `StoreUnavailable`.
        """
        document = self._github.repository_document(terms.repository)
        reader = self._github.reader(terms.repository, bot=self._bot)
        chosen: list[ChosenIssue] = []
        left_out: Counter[str] = Counter()
        for found in self._choose(document, reader):
            if isinstance(found, str):
                left_out[found] += 1
            elif len(chosen) < terms.limit:
                chosen.append(found)
            else:
                break
        if not chosen:
            reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
            raise CannotPlan(f"no open issue is left to process: {reasons or 'there is none'}")
        new = NewBatch(
            "triage",
            int(document["id"]),
            str(document["full_name"]),  # `terms` may have an old name
            terms.max_usd,
            {"comments": terms.comments, "limit": terms.limit},
            {"left_out": dict(left_out)},
        )
        samples = self._render(chosen[:SAMPLE], reader)
        forecast = make_forecast(self._settings, samples, len(chosen), terms.max_usd)
        subjects = [issue.delivery for issue in chosen]
        return Preview(new, subjects, left_out, forecast, tuple(self._list_notes(terms)))

    def _list_notes(self, terms: Terms) -> Iterator[str]:
        """Yield what the settings do not let it write."""
        features = self._effective.features
        off = {"labels": not features.auto_labeling}
        if terms.comments:
            off["comments"] = not features.auto_commenting
        for name, is_off in off.items():
            if is_off:
                key = "auto_labeling" if name == "labels" else "auto_commenting"
                where = self._effective.where(f"features.{key}", self._settings)
                yield f"{name} are switched off by {where}"
        if features.dry_run:
            yield DRY_RUN
        elif all(off.values()):
            yield "Claude is asked and paid, and nothing is written"

    def _choose(
        self, repository: Mapping[str, Any], reader: GithubReader
    ) -> Iterator[ChosenIssue | str]:
        """Yield the open issues, the newest first, or why one is left out."""
        in_dry_runs = self._effective.features.dry_run
        for page in reader.open_documents():
            numbers = [int(issue["number"]) for issue in page]
            processed = self._store.batches.find_processed(
                int(repository["id"]), numbers, in_dry_runs=in_dry_runs
            )
            for issue in page:
                if issue.get("pull_request") is not None:
                    yield PULL_REQUEST
                elif issue.get("locked"):
                    yield LOCKED
                elif issue["number"] in processed:
                    yield PROCESSED
                else:
                    yield self._decide(repository, issue, reader)

    def _decide(
        self, repository: Mapping[str, Any], issue: Mapping[str, Any], reader: GithubReader
    ) -> ChosenIssue | str:
        body = json.dumps(make_opened(repository, issue).payload).encode()
        envelope = parse_envelope(body)
        routed = self._router.route(from_envelope("issues", envelope))
        if isinstance(routed, Ignored):
            return routed.kind
        assert isinstance(routed, Rule)  # the opening of an issue is no command and no correction
        if self._is_settled(int(issue["number"]), routed, reader):
            return SETTLED
        headers = WebhookHeaders("issues", "", b"", is_form=False, content_length=None)
        new = new_delivery(headers, envelope, routed, body, self._settings, request_id=WRITTEN)
        # it is no webhook, which could be sent again
        new = replace_struct(new, guid=str(issue["number"]), digest=None)
        return ChosenIssue(new, routed)

    def _is_settled(self, number: int, rule: Rule, reader: GithubReader) -> bool:
        """Return whether a person set or removed a label that HLS would set."""
        groups = self._library.label_groups("issues", rule.effective.labels.assess)
        return any(
            event.label is not None
            and event.actor is not None
            and event.label.casefold() in groups
            and not event.actor.is_bot
            and not is_by(event.actor, self._bot)
            for event in reader.timeline(number)
        )

    def _render(self, chosen: Sequence[ChosenIssue], reader: GithubReader) -> list[RenderedPrompt]:
        key = self._store.database.secret(PROMPT_SECRET)
        requests: list[RenderedPrompt] = []
        for issue in chosen:
            rule = issue.rule
            new = issue.delivery
            event = replace(parse_event("issues", "", new.body), is_recent=True)
            history = self._store.repositories.history(new.repository_id, self._bot.login)
            with suppress(StepFailed, PromptError, NotRepeatable):
                source = read_unstored(event, reader, self._settings, self._library, rule, history)
                trial = Trial(source, self._library, rule.prompt, key)
                requests.append(trial.render_requests()[0])
        return requests


def undo(store: Storage, batch: Batch, *, by: str) -> int:
    """Take a batch back for the person `by`: one delivery for each issue that it may have changed.
    Return their number. Another call stores nothing twice.
    """
    store.batches.mark_undone(batch.id, by=by)
    # after the mark: a worker that claims an issue from now on sees it
    begun = [one for one in store.batches.load_progress(batch).deliveries if one.attempt]
    store.batches.add(batch.id, [_make_undo(batch, delivery) for delivery in begun])
    return len(begun)


def _make_undo(batch: Batch, delivery: BatchDelivery) -> NewDelivery:
    owner, _, _ = batch.repository.partition("/")
    repository = {
        "id": batch.repository_id,
        "full_name": batch.repository,
        "owner": {"login": owner},
    }
    issue = {"number": delivery.number, "title": delivery.title, "state": "open"}
    return NewDelivery(
        guid=f"{delivery.guid}{UNDO_SUFFIX}",
        event="issues",
        action=None,
        request_id=UNDO,
        state="queued",
        repository_id=batch.repository_id,
        repository=batch.repository,
        number=delivery.number,
        title=delivery.title,
        body=json.dumps({"repository": repository, "issue": issue}).encode(),
    )


@dataclass(frozen=True, slots=True)
class Result:
    """The ends of the deliveries of a triage, or of its undo."""

    deliveries: Sequence[BatchDelivery]
    is_undo: bool

    def count_ends(self) -> Mapping[str, int]:
        """Count by state, and ignored ones by their reason."""
        return Counter(one.reason_kind or one.state for one in self.deliveries)

    def to_dict(self) -> dict[str, object]:
        issues = [
            {"number": one.number, "state": one.state, "reason": one.reason}
            for one in self.deliveries
        ]
        return {"ends": dict(self.count_ends()), "issues": issues}

    def describe(self) -> Iterator[str]:
        for delivery in self.deliveries:
            reason = delivery.reason or "waits"
            if self.is_undo or delivery.state != "done":
                yield f"#{delivery.number:<6} {delivery.state}: {reason}"
        ends = [f"{number} {end}" for end, number in self.count_ends().items()]
        yield f"issues      {', '.join(ends)}"


def load_result(progress: Progress) -> Result:
    return Result(progress.shown, bool(progress.undo))

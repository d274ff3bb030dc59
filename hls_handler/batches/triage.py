"""Processes open issues that are older than HLS as new ones, and takes that back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from msgspec.structs import replace as replace_struct

from hls_handler.analysis import RenderedPrompt
from hls_handler.batches.preview import CannotPlan, Preview, Target, list_reasons, make_preview
from hls_handler.batches.trial import NotRepeatable, Trial, read_unstored
from hls_handler.deliveries import UNDO, WRITTEN, NewDelivery
from hls_handler.engine.asking import PROMPT_SECRET
from hls_handler.errors import StepFailed
from hls_handler.events import parse_event
from hls_handler.github.client import make_opened
from hls_handler.github.comments import is_by
from hls_handler.prompting.prompt import Library
from hls_handler.routing import Ignored, Router, Rule, from_envelope, parse_envelope
from hls_handler.settings.effective import RepositoryTable
from hls_handler.store.batches import UNDO_SUFFIX, Batch, BatchDelivery, NewBatch, Progress
from hls_handler.store.storage import Storage
from hls_handler.web.webhook import WebhookHeaders, new_delivery

PULL_REQUEST = "pull request"
LOCKED = "locked"
PROCESSED = "processed already, or in a batch"
SETTLED = "a person set or removed a label that HLS would set"
DRY_RUN = "dry run: Claude is asked and paid, and nothing is written (features.dry_run)"


def plan(
    target: Target,
    store: Storage,
    library: Library,
    limit: int,
    max_usd: float,
    *,
    comments: bool,
) -> Preview:
    """Return the preview of a batch about at most `limit` open issues, the newest first.

    Raises `CannotPlan`, a `StepFailed` of GitHub, `PromptError`, or `StoreUnavailable`.
    """
    settings = target.settings
    router = Router(settings, RepositoryTable(settings), library, (target.bot,))
    subjects: list[NewDelivery] = []
    left_out: Counter[str] = Counter()
    for subject in _choose(target, store, library, router):
        if isinstance(subject, str):
            left_out[subject] += 1
        elif len(subjects) < limit:
            subjects.append(subject)
        else:
            break
    if not subjects:
        raise CannotPlan(f"no open issue is left to process: {list_reasons(left_out)}")
    new = NewBatch(
        "triage",
        target.id,
        target.name,
        max_usd,
        {"comments": comments, "limit": limit},
        {"left_out": dict(left_out)},
    )
    key = store.database.secret(PROMPT_SECRET)
    history = store.repositories.history(target.id, target.bot.login)

    def render(subject: NewDelivery) -> Sequence[RenderedPrompt]:
        rule = router.route(from_envelope("issues", parse_envelope(subject.body)))
        assert isinstance(rule, Rule)  # else it were no subject
        event = replace(parse_event("issues", "", subject.body), is_recent=True)
        with suppress(StepFailed, NotRepeatable):
            source = read_unstored(event, target.reader, settings, library, rule, history)
            return Trial(source, library, rule.prompt, key).render_requests()
        return ()

    preview = make_preview(settings, new, subjects, left_out, render)
    return replace(preview, notes=tuple(_list_notes(target, comments=comments)))


def _list_notes(target: Target, *, comments: bool) -> Iterator[str]:
    """Yield what the settings and the permissions do not let it write."""
    features = target.effective.features
    off = {"labels": not features.auto_labeling}
    if comments:
        off["comments"] = not features.auto_commenting
    for name, is_off in off.items():
        if is_off:
            key = "auto_labeling" if name == "labels" else "auto_commenting"
            where = target.effective.where(f"features.{key}", target.settings)
            yield f"{name} are switched off by {where}"
    if features.dry_run:
        yield DRY_RUN
        return
    yield from target.github.find_missing_permissions(target.name)
    if all(off.values()):
        yield "Claude is asked and paid, and nothing is written"


def _choose(
    target: Target, store: Storage, library: Library, router: Router
) -> Iterator[NewDelivery | str]:
    """Yield the delivery of each open issue, or why it is left out."""
    in_dry_runs = target.effective.features.dry_run
    groups = library.label_groups("issues", target.effective.labels.assess)
    for page in target.reader.open_documents():
        numbers = [int(issue["number"]) for issue in page]
        processed = store.batches.find_processed(target.id, numbers, in_dry_runs=in_dry_runs)
        for issue in page:
            if issue.get("pull_request") is not None:
                yield PULL_REQUEST
            elif issue.get("locked"):
                yield LOCKED
            elif issue["number"] in processed:
                yield PROCESSED
            else:
                yield _decide(target, groups, router, issue)


def _decide(
    target: Target, groups: Collection[str], router: Router, issue: Mapping[str, Any]
) -> NewDelivery | str:
    body = json.dumps(make_opened(target.document, issue).payload).encode()
    envelope = parse_envelope(body)
    routed = router.route(from_envelope("issues", envelope))
    if isinstance(routed, Ignored):
        return routed.kind
    if _is_settled(target, groups, int(issue["number"])):
        return SETTLED
    headers = WebhookHeaders("issues", "", b"", is_form=False, content_length=None)
    new = new_delivery(headers, envelope, routed, body, target.settings, request_id=WRITTEN)
    # it is no webhook, which could be sent again
    return replace_struct(new, guid=str(issue["number"]), digest=None)


def _is_settled(target: Target, groups: Collection[str], number: int) -> bool:
    """Return whether a person set or removed a label that HLS would set."""
    return any(
        event.label is not None
        and event.actor is not None
        and event.label.casefold() in groups
        and not event.actor.is_bot
        and not is_by(event.actor, target.bot)
        for event in target.reader.timeline(number)
    )


def undo(store: Storage, batch: Batch, *, by: str) -> int:
    """Take a batch back for the person `by`: one delivery for each issue that it may have changed.
    Return their number. Another call stores nothing twice.
    """
    store.batches.mark_undone(batch.id, by=by)
    # after the mark: a worker that claims an issue from now on sees it
    deliveries = store.batches.load_progress(batch).deliveries
    begun = [delivery for delivery in deliveries if delivery.attempt]
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
class TriageResult:
    """The ends of the deliveries of a triage, or of its undo."""

    issues: Sequence[BatchDelivery]
    ends: Mapping[str, int]
    is_undo: bool

    def describe(self) -> Iterator[str]:
        for delivery in self.issues:
            reason = delivery.reason or "waits"
            if self.is_undo or delivery.state != "done":
                yield f"#{delivery.number:<6} {delivery.state}: {reason}"
        yield from self.summarize()

    def summarize(self) -> Iterator[str]:
        ends = [f"{number} {end}" for end, number in self.ends.items()]
        yield f"issues      {', '.join(ends)}"


def load_result(progress: Progress) -> TriageResult:
    return TriageResult(progress.shown, count_ends(progress.shown), bool(progress.undo))


def count_ends(deliveries: Sequence[BatchDelivery]) -> Mapping[str, int]:
    """Count by state, and ignored ones by their reason."""
    return dict(Counter(delivery.reason_kind or delivery.state for delivery in deliveries))

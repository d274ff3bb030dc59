"""The names that decide about golden defects show their code to the second look, for few tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hls_handler.analysis import (
    Finding,
    FindingVerdicts,
    PullRequestAnalysis,
    Reply,
    Usage,
)
from hls_handler.handlers.asking import VERIFY_PROMPT
from hls_handler.handlers.job import PromptLimits, Source
from hls_handler.handlers.look_up import look_up
from hls_handler.handlers.pull_requests import verification_variables
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.handlers.second_look import list_names
from hls_handler.prompting.prompt import Library
from hls_handler.question import RenderedPrompt, estimate_tokens
from hls_handler.trials.trial import Trial
from tests.engine.world import settings
from tests.golden.cases import FOLDER, PullRequestCase, load_cases
from tests.golden.questions import to_event, to_question

NAMES: Mapping[str, list[str]] = {
    "c-static-buffer": ["address_format"],
    "cpp-topic-length": ["Frame::topic", "kMaxTopicLength"],
    "csharp-null-recipients": ["Recipients"],
    "go-cache-lock": ["Cache.entries"],
    "go-quota-unit": ["Quota.Remaining"],
    "go-session-nil": ["FindByToken"],
    "java-record-cents": ["Money"],
    "java-slice-inclusive": ["Pages.slice"],
    "java-unmodifiable-items": ["getItems"],
    "javascript-cancelled-status": ["order.status", "cancelled"],
    "javascript-removed-helper": ["text.slugify"],
    "python-customer-not-found": ["find_customer", "CustomerNotFound"],
    "python-defaults-changed": ["merge_options"],
    "python-lease-milliseconds": ["extend_lease", "lease_s"],
    "python-payment-reference": ["provider_reference"],
    "python-webhook-sibling": ["StripeHook", "PayPalHook"],
    "rust-clip-bytes": ["text::clip"],
    "typescript-argument-order": ["formatRange"],
    "typescript-missing-await": ["isBlocked"],
    "typescript-tenant-filter": ["listRecent", "tenantId"],
}
"""What a careful reader of the diff asks to see, by case."""


def reply_to(case: PullRequestCase, names: list[str]) -> PullRequestAnalysis:
    """The reply that reports the first defect, which hangs on these names."""
    defect = case.defects[0]
    place = defect.places[0]
    finding = Finding(
        **place.model_dump(),
        title=defect.about[:150],
        body=defect.about,
        suggestion=None,
        category=defect.categories[0],
        severity=defect.severity,
        confidence=0.65,
        continues=None,
        rests_on="",
        look_up=names,
    )
    return PullRequestAnalysis(
        type="feature", summary="A change.", earlier=[], findings=[finding], suggested_labels=[]
    )


def render_look(case: PullRequestCase, library: Library, names: list[str]) -> RenderedPrompt:
    """The question of the second look at the first defect."""
    stored, prompt = to_question(case, settings(), library, {})
    event, reader = to_event(case)
    facts = stored.facts.with_reply(reply_to(case, names))
    if names:
        source = Source(event, reader, EMPTY_HISTORY, PromptLimits(10_000))
        facts = replace(facts, looked_up=look_up(facts, list_names(facts), source))
    variables = verification_variables(facts, facts.reply)
    assert variables is not None
    asked: list[RenderedPrompt] = []

    def send(rendered: RenderedPrompt) -> Reply:
        asked.append(rendered)
        verdicts = FindingVerdicts(verdicts=[])
        return Reply(rendered.prompt.id, "finding_verdicts", verdicts, Usage(""))

    trial = Trial(replace(stored, facts=facts), library, prompt, b"key")
    trial.make_job(send).asking.ask(VERIFY_PROMPT, variables, 1)
    (rendered,) = asked
    return rendered


def test_names_to_look_up_show_what_decides_for_at_most_half_more_tokens(library: Library) -> None:
    cases = [
        case
        for folder in (FOLDER, FOLDER / "kept")
        for case in load_cases(folder)
        if isinstance(case, PullRequestCase) and case.needs
    ]
    missing: list[str] = []
    tokens = 0
    plain_tokens = 0
    for case in cases:
        rendered = render_look(case, library, NAMES[case.name])
        if not any(place.quote in rendered.task for place in case.needs):
            missing.append(case.name)
        plain = render_look(case, library, [])
        tokens += estimate_tokens(rendered.system) + estimate_tokens(rendered.task)
        plain_tokens += estimate_tokens(plain.system) + estimate_tokens(plain.task)
    assert len(cases) == 20
    assert missing == ["javascript-cancelled-status"]
    assert plain_tokens < tokens <= 1.5 * plain_tokens

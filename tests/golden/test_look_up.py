"""The names that decide about golden defects show their code to the second look, for few tokens."""

from __future__ import annotations

from collections.abc import Mapping

from hls_handler.handlers.job import FactSource, PromptLimits
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.prompting.prompt import Library
from hls_handler.question import RenderedPrompt, estimate_tokens
from tests.engine.claude import FakeClaude
from tests.engine.world import settings
from tests.golden.asking import Evaluator, MeteredClaude
from tests.golden.cases import FOLDER, PullRequestCase, load_cases, report
from tests.golden.questions import to_event

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


def render_look(case: PullRequestCase, library: Library, names: list[str]) -> RenderedPrompt:
    """Render the second look at a review that reports the first defect, which hangs on names."""
    defect = case.defects[0]
    known = {"title": defect.about[:150], "body": defect.about, "rests_on": "", "confidence": 0.65}
    known |= {"severity": defect.severity, "category": defect.categories[0], "look_up": names}
    reported = report(**{**defect.places[0].model_dump(), **known})
    asking = Evaluator(settings(), library, MeteredClaude(FakeClaude([]), None, pause=print))
    question = asking.read(case.model_copy(update={"reported": reported}))[0]
    event, reader = to_event(case)
    source = FactSource(event, reader, EMPTY_HISTORY, PromptLimits(10_000))
    (rendered,) = question.render_requests(source)
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

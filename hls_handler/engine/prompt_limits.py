"""Limits on what a prompt gets, by the settings: tokens, files, findings and labels."""

from __future__ import annotations

from hls_handler.handlers.job import VERIFY_PROMPT, PromptLimits
from hls_handler.prompting.prompt import Library
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.settings.path_globs import PathFilter


def prompt_limits(
    settings: Settings, library: Library, event_name: str, effective: EffectiveSettings, prompt: str
) -> PromptLimits:
    """Return the limits on what a prompt gets: tokens, files and findings, and whether it lists
    labels.
    """
    taken = None
    labels = effective.labels
    if (
        labels.suggest
        and effective.features.auto_labeling
        and library.uses(prompt, "repository_labels")
    ):
        taken = frozenset(library.label_groups(event_name, labels.assess))
    review = effective.review
    thresholds = {
        "guidance": review.guidance and library.uses(prompt, "guidance"),
        "verify": review.verify and VERIFY_PROMPT in library.prompts,
    }
    is_review = library.prompts[prompt].reply == "pull_request_analysis"
    sums_up_files = (
        effective.comments.files and is_review and library.uses(prompt, "file_summaries")
    )
    titles = effective.pull_requests
    suggests_title = (
        titles.title == "suggest" and is_review and library.uses(prompt, "suggested_title")
    )
    return PromptLimits(
        settings.claude.input_tokens,
        PathFilter(effective.paths.ignore, effective.where("paths.ignore", settings)),
        effective.findings,
        (
            "always" if sums_up_files else effective.comments.summary
        ),  # else the sentences would be paid and not shown
        sums_up_files=sums_up_files,
        shows_cost=effective.comments.show_cost,
        title_types=titles.title_types if suggests_title else (),
        reviewers=titles.reviewers if is_review else False,
        labels=labels,
        taken_labels=taken,
        is_review=is_review,
        review=effective.review.model_copy(update=thresholds),
        features=effective.features,
        searches=settings.mirror.enabled and (is_review or library.uses(prompt, "second_sites")),
        documents=settings.mirror.enabled
        and effective.retrieval.enabled
        and library.uses(prompt, "documents"),
        similar=effective.similar.enabled and library.uses(prompt, "similar"),
    )

"""Decides by which rule an event is processed, or why it is ignored."""

from __future__ import annotations

from hls_handler.events import Account
from hls_handler.routing.candidate import REVIEW_REQUESTED, Candidate
from hls_handler.routing.feedback import as_feedback
from hls_handler.routing.filters import find_ignored
from hls_handler.routing.verdict import Catalogue, Feedback, Ignored, IgnoredKind, Rule, Shadow
from hls_handler.settings.effective import Effective, RepositoryTable
from hls_handler.settings.model import Settings

NO_PROMPT_KINDS: frozenset[IgnoredKind] = frozenset({"event not enabled", "no prompt", "prompt switched off"})
"""Kinds of ignored events that may still be label corrections."""


def route(
    candidate: Candidate, *, settings: Settings, table: RepositoryTable, catalogue: Catalogue, we: Account | None
) -> Rule | Feedback | Ignored:
    """Route one event. Called by the receiver (takes microseconds) and again by the worker with its current settings.

    `we` is the bot account, or None while it is unknown: then the worker decides which events HLS itself caused.
    """
    routed = _route_to_prompt(candidate, settings, table, catalogue, we)
    effective = table.find(candidate.repository) if candidate.repository is not None else None
    if effective is None or isinstance(routed, Rule) or routed.kind not in NO_PROMPT_KINDS:
        return routed
    return as_feedback(candidate, effective, catalogue, settings=settings, we=we) or routed


def _route_to_prompt(
    candidate: Candidate, settings: Settings, table: RepositoryTable, catalogue: Catalogue, we: Account | None
) -> Rule | Ignored:
    effective = _find_settings(candidate, settings, table)
    if isinstance(effective, Ignored):
        return effective
    return route_by(candidate, effective, settings=settings, catalogue=catalogue, we=we)


def route_by(
    candidate: Candidate, effective: Effective, *, settings: Settings, catalogue: Catalogue, we: Account | None
) -> Rule | Ignored:
    """Route an enabled event by these settings of its repository, which may include the repository's own file."""
    rule = _find_disabled(candidate, settings, effective) or _find_rule(candidate, settings, effective, catalogue)
    if isinstance(rule, Ignored):
        return rule
    ignored = find_ignored(candidate, prompt_file=rule.file, effective=effective, settings=settings, bot=we)
    return rule if ignored is None else ignored


def _find_settings(candidate: Candidate, settings: Settings, table: RepositoryTable) -> Effective | Ignored:
    """Return the settings of the event's repository, or `Ignored` if they do not enable the event."""
    if candidate.repository is None:
        where = settings.sources.where("repositories")
        reason = f"{candidate.key} belongs to no repository, and {where} enables events by repository"
        return Ignored("no repository", reason)
    effective = table.find(candidate.repository)
    if effective is None:
        where = settings.sources.where("repositories")
        reason = f"no entry of {where} matches {candidate.repository}; add one to process it"
        return Ignored("repository not configured", reason)
    disabled = _find_disabled(candidate, settings, effective)
    if disabled is not None:
        return disabled
    if not _is_event_enabled(candidate, effective):
        listed = settings.sources.where(f"{effective.key}.events")
        reason = f"{candidate.key} is not among the events of {listed}; add it there to process it"
        return Ignored("event not enabled", reason)
    return effective


def _find_disabled(candidate: Candidate, settings: Settings, effective: Effective) -> Ignored | None:
    if effective.enabled:
        return None
    switch = settings.sources.where(effective.own_key("enabled") or f"{effective.key}.enabled")
    reason = f"{candidate.repository} is switched off by {switch}; set it to true to process it"
    return Ignored("repository disabled", reason)


def _is_event_enabled(candidate: Candidate, effective: Effective) -> bool:
    """Return True if settings enable the event.

    A review request is enabled with any event of pull requests; a filter then checks whose review is requested.
    """
    if candidate.event in effective.events or candidate.key in effective.events:
        return True
    is_review_request = candidate.event == "pull_request" and candidate.action == REVIEW_REQUESTED
    return is_review_request and any(event.startswith("pull_request.") for event in effective.events)


def _find_rule(candidate: Candidate, settings: Settings, effective: Effective, catalogue: Catalogue) -> Rule | Ignored:
    """Choose the prompt that settings name for the event, else the only one that names the event in its `on:`."""
    key = candidate.key
    chosen, shadowed = effective.prompt_for(key), effective.shadow_for(key)
    shadow = Shadow(*shadowed) if shadowed is not None else None
    if chosen is not None:
        name, key_path = chosen
        if name is False:
            chosen_at = settings.sources.where(key_path)
            reason = f"{chosen_at} switches the prompt for {key} off; remove that line to process it"
            return Ignored("prompt switched off", reason)
        try:
            file = catalogue.file(name)
        except KeyError:
            chosen_at = settings.sources.where(key_path)
            reason = f"{chosen_at} chooses the prompt {name} for {key}, but no prompt has that name; correct it"
            return Ignored("no prompt", reason)
        return Rule(key, name, effective, file, key_path, shadow if shadow and shadow.prompt != name else None)
    names = _exclude_shadow(shadow, catalogue.on(key)) or _exclude_shadow(shadow, catalogue.on(candidate.event))
    if not names:
        change = settings.sources.change("prompts.directory", "another folder")
        folders = " or ".join(f"{folder}/" for folder in settings.prompts.folders.values())
        reason = f"no prompt in {folders} has {key} in its `on:`; add it to one to process it"
        if shadow is not None:
            reason = f"{reason} ({settings.sources.where(shadow.chosen_by)} runs {shadow.prompt} as a shadow only)"
        return Ignored("no prompt", f"{reason}, or {change}")
    if len(names) > 1:
        files = " and ".join(catalogue.file(name) for name in names)
        change = settings.sources.change(f"prompts.use.{key}", "the name of one")
        return Ignored("several prompts", f"{files} are both for {key}; {change}")
    return Rule(key, names[0], effective, catalogue.file(names[0]), shadow=shadow)


def _exclude_shadow(shadow: Shadow | None, names: tuple[str, ...]) -> tuple[str, ...]:
    return names if shadow is None else tuple(name for name in names if name != shadow.prompt)

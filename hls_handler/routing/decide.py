"""The decision itself: from a candidate to the rule it is worked on by, or to the reason why it is not."""

from __future__ import annotations

from hls_handler.events import Account
from hls_handler.routing.candidate import REVIEW_REQUESTED, Candidate
from hls_handler.routing.feedback import as_feedback
from hls_handler.routing.filters import refuse
from hls_handler.routing.verdict import Catalogue, Feedback, Ignored, IgnoredKind, Rule, Shadow
from hls_handler.settings.effective import Effective, RepositoryTable
from hls_handler.settings.model import Settings

WITHOUT_PROMPT: frozenset[IgnoredKind] = frozenset({"event not enabled", "no prompt", "prompt switched off"})
"""Reasons for which Claude is not asked, though what happened may be feedback."""


def route(
    candidate: Candidate, *, settings: Settings, table: RepositoryTable, catalogue: Catalogue, we: Account | None
) -> Rule | Feedback | Ignored:
    """Decide about one event: microseconds at the door, and the same again in the worker with the settings of then.

    `we` is our account, or None as long as nobody asked GitHub: then the worker decides what is our own doing.
    """
    verdict = _by_a_prompt(candidate, settings, table, catalogue, we)
    effective = table.find(candidate.repository) if candidate.repository is not None else None
    if effective is None or isinstance(verdict, Rule) or verdict.kind not in WITHOUT_PROMPT:
        return verdict
    return as_feedback(candidate, effective, catalogue, settings=settings, we=we) or verdict


def _by_a_prompt(
    candidate: Candidate, settings: Settings, table: RepositoryTable, catalogue: Catalogue, we: Account | None
) -> Rule | Ignored:
    effective = _repository(candidate, settings, table)
    if isinstance(effective, Ignored):
        return effective
    return route_by(candidate, effective, settings=settings, catalogue=catalogue, we=we)


def route_by(
    candidate: Candidate, effective: Effective, *, settings: Settings, catalogue: Catalogue, we: Account | None
) -> Rule | Ignored:
    """Decide about an event that is enabled, by these settings of its repository: its own file may be laid over."""
    rule = _switched_off(candidate, settings, effective) or _rule(candidate, settings, effective, catalogue)
    if isinstance(rule, Ignored):
        return rule
    refused = refuse(candidate, prompt_file=rule.file, effective=effective, settings=settings, we=we)
    return rule if refused is None else refused


def _repository(candidate: Candidate, settings: Settings, table: RepositoryTable) -> Effective | Ignored:
    """The settings of the event's repository, if they enable the event."""
    if candidate.repository is None:
        where = settings.sources.where("repositories")
        reason = f"{candidate.key} is about no repository, and {where} enables events by repository"
        return Ignored("no repository", reason)
    effective = table.find(candidate.repository)
    if effective is None:
        where = settings.sources.where("repositories")
        reason = f"no entry of {where} matches {candidate.repository}; add one to work on it"
        return Ignored("repository not configured", reason)
    off = _switched_off(candidate, settings, effective)
    if off is not None:
        return off
    if not _enabled(candidate, effective):
        listed = settings.sources.where(f"{effective.key}.events")
        reason = f"{candidate.key} is not among the events of {listed}; add it there to work on it"
        return Ignored("event not enabled", reason)
    return effective


def _switched_off(candidate: Candidate, settings: Settings, effective: Effective) -> Ignored | None:
    if effective.enabled:
        return None
    switch = settings.sources.where(effective.own_key("enabled") or f"{effective.key}.enabled")
    reason = f"{candidate.repository} is switched off by {switch}; set it to true to work on it"
    return Ignored("repository disabled", reason)


def _enabled(candidate: Candidate, effective: Effective) -> bool:
    """A request for a review is let in wherever anything of pull requests is: a filter says whose review it must be."""
    if candidate.event in effective.events or candidate.key in effective.events:
        return True
    asked_for = candidate.event == "pull_request" and candidate.action == REVIEW_REQUESTED
    return asked_for and any(event.startswith("pull_request.") for event in effective.events)


def _rule(candidate: Candidate, settings: Settings, effective: Effective, catalogue: Catalogue) -> Rule | Ignored:
    """By the prompt that settings choose for the event, else by the only one that names the event in its `on:`."""
    key = candidate.key
    chosen, beside = effective.prompt_for(key), effective.shadow_for(key)
    shadow = Shadow(*beside) if beside is not None else None
    if chosen is not None:
        name, key_path = chosen
        if name is False:
            chosen_at = settings.sources.where(key_path)
            reason = f"{chosen_at} switches the prompt for {key} off; remove that line to work on it"
            return Ignored("prompt switched off", reason)
        try:
            file = catalogue.file(name)
        except KeyError:
            chosen_at = settings.sources.where(key_path)
            reason = (
                f"{chosen_at} chooses the prompt {name} for {key}, and the library has none of that name; correct it"
            )
            return Ignored("no prompt", reason)
        return Rule(key, name, effective, file, key_path, shadow if shadow and shadow.prompt != name else None)
    names = _without(shadow, catalogue.on(key)) or _without(shadow, catalogue.on(candidate.event))
    if not names:
        change = settings.sources.change("prompts.directory", "another folder")
        folders = " or ".join(f"{folder}/" for folder in settings.prompts.folders.values())
        reason = f"no prompt in {folders} has {key} in its `on:`; add it to one to work on it"
        if shadow is not None:
            reason = f"{reason} ({settings.sources.where(shadow.chosen_by)} has {shadow.prompt} run beside it only)"
        return Ignored("no prompt", f"{reason}, or {change}")
    if len(names) > 1:
        files = " and ".join(catalogue.file(name) for name in names)
        change = settings.sources.change(f"prompts.use.{key}", "the name of one")
        return Ignored("several prompts", f"{files} are both for {key}; {change}")
    return Rule(key, names[0], effective, catalogue.file(names[0]), shadow=shadow)


def _without(shadow: Shadow | None, names: tuple[str, ...]) -> tuple[str, ...]:
    return names if shadow is None else tuple(name for name in names if name != shadow.prompt)

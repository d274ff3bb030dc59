"""Routes an event to a `Rule` with a prompt, to a `LabelCorrection`, or to `Ignored` with a
reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from hls_handler.events import Account
from hls_handler.routing.commands import NEW_REPLY, Command, may_be_command, route_command
from hls_handler.routing.envelope import (
    INSTALLATION_EVENTS,
    LABEL_ACTIONS,
    REVIEW_REQUESTED,
    RoutingInput,
)
from hls_handler.routing.filters import (
    BRINGS_DIFF,
    LEAVES_COMMIT,
    Ignored,
    IgnoredKind,
    as_request,
    asked_to_skip,
    brings_diff,
    find_ignored,
    ignore_own_action,
    is_addressed,
    leaves_commit,
    same_login,
)
from hls_handler.settings.effective import EffectiveSettings, RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.values import Assessed
from hls_handler.settings.yaml_parser import Sources


@dataclass(frozen=True, slots=True)
class Rule:
    """Routing decision: a prompt processes the event."""

    event_key: str  # "issues.opened"
    prompt: str  # "issues/analyze"
    effective: EffectiveSettings  # the settings of the event's repository
    file: str  # the prompt's file: "prompts/issues/analyze.j2"
    # key path in `prompts.use`; None: the prompt's own `on:` names the event
    chosen_by: str | None = None
    # True: a comment by the author, processed like an edit of the issue
    is_author_comment: bool = False
    thread: int | None = None  # of a question there: id of the first comment of the review thread

    def why(self, sources: Sources) -> str:
        """Return a sentence with the line of the settings that enables the event or chooses the
        prompt.

        The sentence is not a field, because the receiver would build it for every webhook and never
        use it.
        """
        event = self.event_key
        if self.is_author_comment:
            event += ", as which a comment of the issue's author counts"
        if self.chosen_by is not None:
            return f"{sources.where(self.chosen_by)} chooses {self.file} for {event}"
        enabled_at = sources.where(f"{self.effective.key}.events")
        return f"{enabled_at} enables {event}, and {self.file} is for it"


@dataclass(frozen=True, slots=True)
class LabelCorrection:
    """Routing decision: a person changed a label that Claude can set. No prompt runs.

    The worker stores the change only if HLS set a label of `group` within the last 30 days.
    """

    event_key: str  # "issues.unlabeled"
    # group of the label: "priority"; for a label of the list field `areas`: "areas docs"
    group: str
    effective: EffectiveSettings

    def why(self, sources: Sources) -> str:
        enabled_at = sources.where(f"{self.effective.key}.events")
        changes = f"changes of {self.group} labels by people"
        return f"{enabled_at} enables events of this kind, and {changes} are corrections"


@dataclass(frozen=True, slots=True)
class QueueCheck:
    """Routing decision: a merge queue waits for the check on its commit. No prompt runs."""

    event_key: str  # "merge_group.checks_requested"
    effective: EffectiveSettings

    def why(self, sources: Sources) -> str:
        """Return a sentence with the line of the settings that enables checks."""
        enabled_at = sources.where(f"{self.effective.key}.events")
        return f"{enabled_at} enables pull requests, and so their checks"


RoutingResult = Rule | LabelCorrection | Command | QueueCheck | Ignored

ASKS_NOTHING = "the comment asks nothing in a review thread of HLS"
CHECKS_REQUESTED = "merge_group.checks_requested"


class PromptCatalogue(Protocol):
    """The part of the prompt library that routing uses."""

    def on(self, event_key: str) -> tuple[str, ...]:
        """Return the prompts for exactly this event key: "issues.opened" -> ("issues/analyze",)."""

    def label_groups(self, event: str, assess: Collection[Assessed] = ()) -> Mapping[str, str]:
        """Map each label in lower case that Claude can set for an event to its group."""

    def file(self, name: str) -> str:
        """Return a prompt's file: "issues/analyze" -> "prompts/issues/analyze.j2". Raises
        `KeyError` if unknown.
        """


AUTHOR_COMMENT_KINDS: frozenset[IgnoredKind] = frozenset(
    {
        "event not enabled",
        "no prompt",
        "prompt switched off",
        "nothing asked",
        "nothing relevant changed",
    }
)
"""A comment that is ignored for one of these reasons can still be the author's response to a
request of HLS.
"""

NO_PROMPT_KINDS: frozenset[IgnoredKind] = frozenset(
    {"event not enabled", "no prompt", "prompt switched off"}
)
"""An event that is ignored for one of these reasons can still be a label correction, which needs no
prompt.
"""


@dataclass(frozen=True, slots=True)
class Router:
    """Routes events by settings and prompts: in the receiver, and later in the worker, because both
    may have changed.

    Settings of an event's repository may include those of its `.github/hls.yaml`.
    """

    settings: Settings
    table: RepositoryTable
    catalogue: PromptCatalogue
    accounts: tuple[Account, ...] = ()
    """HLS's accounts, the bot account first. While it is unknown, (): then events that HLS caused
    are not ignored.
    """

    def route(self, routing_input: RoutingInput) -> RoutingResult:
        effective = _find_settings(routing_input, self.settings, self.table)
        if isinstance(effective, Ignored):
            return effective
        needs_check = needs_title_check(routing_input, effective)
        if routing_input.key == CHECKS_REQUESTED and (needs_check or may_have_checks(effective)):
            return QueueCheck(routing_input.key, effective)
        command = route_command(routing_input, effective, self.settings, self.accounts)
        if command is not None:
            return command
        question = self.route_thread_question(routing_input, effective)
        if question is not None:
            return question
        if not _is_event_enabled(as_request(routing_input, effective, self.accounts), effective):
            source = self.settings.sources.where(f"{effective.key}.events")
            question_input = self.as_thread_question(routing_input)
            subject = question_input or routing_input
            reason = (
                f"{subject.key} is not among the events of {source}; add it there to process it"
            )
            routed: Rule | Ignored = Ignored("event not enabled", reason)
            if routing_input.key == NEW_REPLY and question_input is None:
                routed = Ignored("nothing asked", ASKS_NOTHING)
        else:
            routed = self.route_enabled(routing_input, effective)
        if isinstance(routed, Ignored) and routed.kind in AUTHOR_COMMENT_KINDS:
            answer = self.route_author_comment(routing_input, effective)
            if isinstance(answer, Rule):
                return answer
        if isinstance(routed, Rule):
            return routed
        changes_heads = brings_diff(routing_input) or leaves_commit(routing_input)
        if needs_check or (changes_heads and _may_write_checks(effective)):
            return dataclasses.replace(routed, is_for_worker=True)
        if routed.kind not in NO_PROMPT_KINDS:
            return routed
        return self.find_label_correction(routing_input, effective) or routed

    def route_enabled(
        self, routing_input: RoutingInput, effective: EffectiveSettings
    ) -> Rule | Ignored:
        routing_input = as_request(routing_input, effective, self.accounts)
        disabled = find_disabled(routing_input, self.settings, effective)
        if disabled is not None:
            return disabled
        rule = self.find_rule(routing_input, effective)
        if isinstance(rule, Ignored):
            return rule
        ignored = find_ignored(
            routing_input,
            prompt_file=rule.file,
            effective=effective,
            settings=self.settings,
            accounts=self.accounts,
        )
        if ignored is not None:
            return ignored
        return rule

    def route_author_comment(
        self, routing_input: RoutingInput, effective: EffectiveSettings
    ) -> Rule | Ignored | None:
        """Route a comment by an issue's author like an edit of the issue. Return None for any other
        event.

        The comment may have the information that HLS asked for. Whether it asked for some is known
        only to the worker.
        """
        if routing_input.key not in NEW_COMMENT or routing_input.is_pull_request:
            return None
        author = routing_input.comment_author
        if author is None or author != routing_input.author:
            return None
        edit = _as_edit(routing_input)
        if not _is_event_enabled(edit, effective):
            return None
        rule = self.route_enabled(edit, effective)
        if isinstance(rule, Rule):
            return dataclasses.replace(rule, is_author_comment=True)
        return rule

    def route_thread_question(
        self,
        routing_input: RoutingInput,
        effective: EffectiveSettings,
    ) -> Rule | Ignored | None:
        """Route a question to HLS in a review thread like one in the conversation.

        Return None for any other event. Whether HLS opened the thread is known only to the worker.
        """
        question = self.as_thread_question(routing_input)
        if question is None or not _is_event_enabled(question, effective):
            return None
        rule = self.route_enabled(question, effective)
        if isinstance(rule, Rule):
            return dataclasses.replace(rule, thread=routing_input.thread)
        return rule

    def as_thread_question(self, routing_input: RoutingInput) -> RoutingInput | None:
        """Return a question to HLS in a review thread as one in the conversation, else None."""
        if routing_input.key != NEW_REPLY or routing_input.thread is None:
            return None
        if not is_addressed(routing_input.comment_body, self.accounts):
            return None
        return replace(routing_input, event="issue_comment")

    def find_label_correction(
        self, routing_input: RoutingInput, effective: EffectiveSettings
    ) -> LabelCorrection | Ignored | None:
        """Return a `LabelCorrection` if a person changed a label that Claude can set; None for any
        other event.

        If HLS or a bot changed the label, or if `skip-hls` is set, returns `Ignored`. Returns None
        if `effective.events` has neither the event's name, such as "issues", nor a key that begins
        with it, such as "issues.opened".
        """
        label = routing_input.label
        if label is None or not self._may_be_label_correction(routing_input, effective):
            return None
        groups = self.catalogue.label_groups(routing_input.event, effective.labels.assess)
        group = groups.get(label.casefold())
        if group is None:
            return None
        for account in self.accounts:
            if same_login(routing_input.sender, account.login):
                return ignore_own_action(self.settings, account)
        if routing_input.sender_is_bot:
            rule = "label changes by bots do not count as corrections"
            return Ignored("other bot", f"{routing_input.sender} is a bot; {rule}")
        skip_reason = asked_to_skip(routing_input.title, routing_input.labels)
        if skip_reason:
            return Ignored("asked to skip", skip_reason)
        return LabelCorrection(routing_input.key, group, effective)

    def may_be_processed(self, event: str, action: str | None, repository: str | None) -> bool:
        """Return whether `route` could admit an event of which only these values are known, not the
        payload.

        `repository` is None if it is unknown, as in GitHub's list of an App's deliveries. A comment
        may be the answer to what HLS asked the author of an issue for.
        """
        least = RoutingInput(
            event=event, action=action, repository=repository, sender="", sender_is_bot=False
        )
        if repository is None:
            return any(self._may_process(least, effective) for effective in self.table.all())
        settings = self.table.find(repository)
        return settings is not None and self._may_process(least, settings)

    def _may_process(self, least: RoutingInput, effective: EffectiveSettings) -> bool:
        if not effective.enabled:
            return False
        if may_be_command(least.key, effective, self.settings):
            return True
        if least.key == "pull_request.labeled" and effective.review_label is not None:
            return True
        if least.key in (*MAY_BRING_DIFF, *LEAVES_COMMIT, CHECKS_REQUESTED) and _may_write_checks(
            effective
        ):
            return True
        if self._may_be_label_correction(least, effective):
            return True
        routing_inputs = [least]
        if least.key in NEW_COMMENT:
            routing_inputs.append(_as_edit(least))
        enabled = [
            candidate for candidate in routing_inputs if _is_event_enabled(candidate, effective)
        ]
        return any(isinstance(self.find_rule(candidate, effective), Rule) for candidate in enabled)

    def _may_be_label_correction(
        self, routing_input: RoutingInput, effective: EffectiveSettings
    ) -> bool:
        return (
            routing_input.event in LABEL_CORRECTION_EVENTS
            and routing_input.action in LABEL_ACTIONS
            and bool(self.catalogue.label_groups(routing_input.event))
            and any(name.partition(".")[0] == routing_input.event for name in effective.events)
        )

    def find_rule(
        self, routing_input: RoutingInput, effective: EffectiveSettings
    ) -> Rule | Ignored:
        key = routing_input.key
        settings = self.settings
        catalogue = self.catalogue
        chosen = effective.find_prompt(key)
        if chosen is not None:
            name = chosen.prompt
            key_path = chosen.key
            if name is False:
                chosen_at = settings.sources.where(key_path)
                reason = f"{chosen_at} switches the prompt for {key} off"
                return Ignored("prompt switched off", f"{reason}; remove that line to process it")
            try:
                file = catalogue.file(name)
            except KeyError:
                chosen_at = settings.sources.where(key_path)
                reason = f"{chosen_at} chooses the prompt {name} for {key}"
                mistake = (
                    "but no prompt in use has that name; correct it, or the error of its file"
                    " that `hls check` reports"
                )
                return Ignored("no prompt", f"{reason}, {mistake}")
            return Rule(key, name, effective, file, key_path)
        names = catalogue.on(key) or catalogue.on(routing_input.event)
        if not names:
            return Ignored("no prompt", self._explain_no_prompt(key))
        if len(names) > 1:
            files = " and ".join(catalogue.file(name) for name in names)
            change = settings.sources.change(f"prompts.use.{key}", "the name of one")
            return Ignored("several prompts", f"{files} are each for {key}; {change}")
        return Rule(key, names[0], effective, catalogue.file(names[0]))

    def _explain_no_prompt(self, key: str) -> str:
        sources = self.settings.sources
        folders = " or ".join(f"{folder}/" for folder in self.settings.prompts.folders.values())
        reason = f"no prompt in {folders} has {key} in its `on:`; add it to a prompt to process it"
        change = sources.change("prompts.directory", "another folder")
        return f"{reason}, or {change}"


def may_have_checks(effective: EffectiveSettings) -> bool:
    """Return whether HLS sets the check of reviews on each head commit of the repository."""
    return effective.review.check and _may_write_checks(effective)


def needs_title_check(routing_input: RoutingInput, effective: EffectiveSettings) -> bool:
    """Return whether an event needs the check of a title: the head commit or the title may be new,
    or a queue waits.
    """
    if not may_check_titles(effective):
        return False
    is_renamed = routing_input.key == "pull_request.edited" and "title" in routing_input.changed
    return is_renamed or routing_input.key == CHECKS_REQUESTED or brings_diff(routing_input)


def may_check_titles(effective: EffectiveSettings) -> bool:
    return effective.pull_requests.title == "check" and _may_write_checks(effective)


def _may_write_checks(effective: EffectiveSettings) -> bool:
    has_pull_requests = any(event.partition(".")[0] == "pull_request" for event in effective.events)
    has_check = effective.review.check or effective.pull_requests.title == "check"
    return effective.enabled and has_pull_requests and has_check and not effective.features.dry_run


MAY_BRING_DIFF = tuple(f"pull_request.{action}" for action in (*BRINGS_DIFF, "edited"))

NEW_COMMENT = ("issue_comment.created", "issue_comment.edited")


def _as_edit(routing_input: RoutingInput) -> RoutingInput:
    return replace(routing_input, event="issues", action="edited", changed=frozenset({"body"}))


def _find_settings(
    routing_input: RoutingInput, settings: Settings, table: RepositoryTable
) -> EffectiveSettings | Ignored:
    if routing_input.event in INSTALLATION_EVENTS:
        return _ignore_installation(settings)
    if routing_input.repository is None:
        where = settings.sources.where("repositories")
        reason = f"{routing_input.key} belongs to no repository"
        return Ignored("no repository", f"{reason}, and {where} enables events by repository")
    effective = table.find(routing_input.repository)
    if effective is None:
        where = settings.sources.where("repositories")
        reason = f"no entry of {where} matches {routing_input.repository}; add one to process it"
        return Ignored("repository not configured", reason)
    return find_disabled(routing_input, settings, effective) or effective


def _ignore_installation(settings: Settings) -> Ignored:
    where = settings.sources.where(settings.github.credential_key)
    if settings.github.app is None:
        reason = f"an event of a GitHub App, and HLS uses the token at {where}"
        return Ignored("app installation", reason)
    reason = f"the installation of the GitHub App ({where}) has changed"
    return Ignored("app installation", f"{reason}; HLS takes account of this from now on")


def find_disabled(
    routing_input: RoutingInput, settings: Settings, effective: EffectiveSettings
) -> Ignored | None:
    """Return the reason if the settings switch the event's repository off, else None."""
    if effective.enabled:
        return None
    switch = effective.where("enabled", settings)
    reason = f"{routing_input.repository} is switched off by {switch}"
    return Ignored("repository disabled", f"{reason}; set this key to true to process it")


def _is_event_enabled(routing_input: RoutingInput, effective: EffectiveSettings) -> bool:
    if routing_input.event in effective.events or routing_input.key in effective.events:
        return True
    is_review_request = routing_input.key == f"pull_request.{REVIEW_REQUESTED}"
    is_explicit = is_review_request or routing_input.is_requested
    return is_explicit and any(event.startswith("pull_request.") for event in effective.events)


LABEL_CORRECTION_EVENTS = ("issues", "pull_request")
"""Events whose actions `labeled` and `unlabeled` can be label corrections."""

"""The input of routing (`RoutingInput`), its results (`Rule`, `LabelCorrection`, `Ignored`) and `PromptCatalogue`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from hls_handler.events import Event, PullRequest, WebhookEnvelope, event_key, is_bot
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.yaml_parser import Sources

REVIEW_REQUESTED = "review_requested"
"""The action of `pull_request` when somebody requests a review."""

LABEL_ACTIONS = ("labeled", "unlabeled")
"""The actions that change the labels of an issue or pull request."""

MARKER = "<!-- hls:"
"""The beginning of the invisible last line of our comments."""


@dataclass(frozen=True, slots=True)
class RoutingInput:
    event: str  # "issues"
    action: str | None  # "opened"
    repository: str | None  # "owner/repo"; None if the event has none
    sender: str  # login; "" if GitHub names none
    sender_is_bot: bool
    author: str | None = None  # login of the author of the issue or pull request
    author_is_bot: bool = False
    title: str = ""
    labels: tuple[str, ...] = ()
    draft: bool = False
    changed: frozenset[str] = frozenset()  # keys of `changes`: {"title", "body"}
    label: str | None = None  # that this event added or removed
    reviewer: str | None = None  # login of the reviewer that this event requested; None for a team
    comment_author: str | None = None  # author of the comment or review that the event is about
    comment_body: str = ""  # its text
    conclusion: str | None = None  # of a workflow run: "success", "failure", "timed_out"

    @property
    def key(self) -> str:
        """ "issues.opened", or "push" if there is no action."""
        return event_key(self.event, self.action)


def from_envelope(name: str, envelope: WebhookEnvelope) -> RoutingInput:
    """Build the routing input of the event `name` (the X-GitHub-Event header) from its envelope."""
    sender, conversation = envelope.sender, envelope.thread
    author, comment = conversation.user if conversation else None, envelope.comment or envelope.review
    return RoutingInput(
        event=name,
        action=envelope.action,
        repository=(envelope.repository.full_name or None) if envelope.repository else None,
        sender=sender.login if sender else "",
        sender_is_bot=is_bot(sender.login, sender.type) if sender else False,
        author=author.login if author else None,
        author_is_bot=is_bot(author.login, author.type) if author else False,
        title=(conversation.title or "") if conversation else "",
        labels=tuple([label.name for label in conversation.labels]) if conversation and conversation.labels else (),
        draft=bool(conversation.draft) if conversation else False,
        changed=frozenset(envelope.changes or ()),
        label=envelope.label.name if envelope.label and envelope.action in LABEL_ACTIONS else None,
        reviewer=_requested_reviewer(
            envelope.action, envelope.requested_reviewer.login if envelope.requested_reviewer else None
        ),
        comment_author=comment.user.login if comment and comment.user else None,
        comment_body=(comment.body or "") if comment else "",
        conclusion=envelope.workflow_run.conclusion if envelope.workflow_run else None,
    )


def from_event(event: Event) -> RoutingInput:
    """Build the routing input from a parsed event."""
    conversation = event.thread
    comment_author, comment_body = _comment_author_and_body(event.payload)
    return RoutingInput(
        event=event.name,
        action=event.action,
        repository=event.repository.full_name,
        sender=event.sender.login,
        sender_is_bot=event.sender.is_bot,
        author=conversation.user.login if conversation else None,
        author_is_bot=conversation.user.is_bot if conversation else False,
        title=conversation.title if conversation else "",
        labels=tuple(label.name for label in conversation.labels) if conversation else (),
        draft=conversation.draft if isinstance(conversation, PullRequest) else False,
        changed=event.changed,
        label=_label_name(event.payload.get("label")) if event.action in LABEL_ACTIONS else None,
        reviewer=_requested_reviewer(event.action, _login(event.payload.get("requested_reviewer"))),
        comment_author=comment_author,
        comment_body=comment_body,
        conclusion=event.workflow_run.conclusion if event.workflow_run else None,
    )


def _comment_author_and_body(payload: Mapping[str, object]) -> tuple[str | None, str]:
    """Author and text of the comment or review in a payload; (None, "") if there is none."""
    comment = payload.get("comment") or payload.get("review")
    if not isinstance(comment, Mapping):
        return None, ""
    body = comment.get("body")
    return _login(comment.get("user")), (body if isinstance(body, str) else "")


def _login(account: object) -> str | None:
    login = account.get("login") if isinstance(account, Mapping) else None
    return login if isinstance(login, str) else None


def _label_name(label: object) -> str | None:
    name = label.get("name") if isinstance(label, Mapping) else None
    return name if isinstance(name, str) else None


def _requested_reviewer(action: str | None, login: str | None) -> str | None:
    return login if action == REVIEW_REQUESTED else None


IgnoredKind = Literal[
    "no repository",
    "repository not configured",
    "repository disabled",
    "event not enabled",
    "no prompt",
    "several prompts",
    "prompt switched off",
    "nothing relevant changed",
    "nothing failed",
    "nothing asked",
    "another's review",
    "own account",
    "other bot",
    "draft",
    "asked to skip",
    "no label of ours",
]
"""Keys under which ignored deliveries are counted."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """A prompt that runs in addition to the rule's prompt and posts nothing."""

    prompt: str  # "issues/strict"; its existence is checked when it runs
    chosen_by: str  # key path in `prompts.use`


@dataclass(frozen=True, slots=True)
class Rule:
    """The event is processed by `prompt`."""

    event_key: str  # "issues.opened"
    prompt: str  # "issues/analyze"
    effective: EffectiveSettings  # the settings of its repository
    file: str  # of the prompt: "prompts/issues/analyze.j2"
    chosen_by: str | None = None  # key path in `prompts.use`; None: the prompt's own `on:` names the event
    shadow: Shadow | None = None

    def why(self, sources: Sources) -> str:
        """Return a sentence with the line of settings and the prompt file that enable the event.

        Built on demand, because the receiver does not need it.
        """
        if self.chosen_by is not None:
            return f"{sources.where(self.chosen_by)} chooses {self.file} for {self.event_key}"
        enabled_at = sources.where(f"{self.effective.key}.events")
        return f"{enabled_at} enables {self.event_key}, and {self.file} is for it"


@dataclass(frozen=True, slots=True)
class LabelCorrection:
    """A person changed a label of a field that Claude fills in: recorded without a prompt or a call to Claude."""

    event_key: str  # "issues.unlabeled"
    field: str  # "priority"
    effective: EffectiveSettings

    def why(self, sources: Sources) -> str:
        """Return a sentence like that of `Rule.why`."""
        enabled_at = sources.where(f"{self.effective.key}.events")
        return f"{enabled_at} enables events of this kind, and changes of {self.field} labels by people are corrections"


@dataclass(frozen=True, slots=True)
class Ignored:
    """The event is not processed."""

    kind: IgnoredKind
    reason: str  # a sentence that names the required change, with its file and line


class PromptCatalogue(Protocol):
    """The part of the prompt library that routing uses."""

    def on(self, event_key: str) -> tuple[str, ...]:
        """Names of the prompts with exactly this key in `on:`: "issues.opened" or "push" -> ("issues/analyze",)."""
        ...

    def label_groups(self, event: str) -> Mapping[str, str]:
        """Maps each label that replies about an event can produce, in lower case, to its field: {"bug": "kind"}."""
        ...

    def file(self, name: str) -> str:
        """The file of a prompt: "issues/analyze" -> "prompts/issues/analyze.j2". Raises KeyError if unknown."""
        ...

"""Base class of the handlers, and functions that several of them use, such as for
sections of the repository's documentation and answers that quote them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from hls_handler.actions import EnsureComment
from hls_handler.analysis import (
    Analysis,
    AnsweringReply,
    IssueAnalysis,
    ReplyFields,
    Source,
    estimate_tokens,
)
from hls_handler.deliveries import End
from hls_handler.errors import ConversationIgnored, Superseded
from hls_handler.events import Comment, Event, Issue, PullRequest
from hls_handler.github.reader import GithubReader
from hls_handler.github.values import LabelOffer, permalink
from hls_handler.handlers.job import Conversation, Job, PromptLimits, Replies, ask_all
from hls_handler.handlers.labels import select_offer
from hls_handler.handlers.reader import StoredSection
from hls_handler.prompting.render import PathsView, RuleView
from hls_handler.routing import Rule, asked_to_skip
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.untrusted.cleaning import clean_and_redact
from hls_handler.wording import count

Item = TypeVar("Item")

# files of which GitHub shows no lines, unless it is asked to
# the end of `html_url`

MAX_BODY_CHARACTERS = 4_000  # characters of each comment that the shipped prompts show
# tokens of a comment in addition to its text: author or position, and delimiters
TOKENS_PER_COMMENT = 60


@dataclass(frozen=True, slots=True)
class SkipReason:
    """The reason why Claude is not asked, and optionally a static reply in place of Claude's
    reply.
    """

    reason: str  # a sentence
    # static reply instead of one from Claude; None: change neither labels nor comment
    reply: ReplyFields | None = None


class Handler(ABC):
    """Base class of the handlers. A handler processes all events of one name, such as "issues".

    `run` is the story of an event, and its `job` alone has effects: the functions beside it are
    pure, except for the one that reads facts. Facts are frozen dataclasses of plain values, which
    are stored as JSON.
    """

    # "issues": the folder of its prompts, and the `EnsureComment.family` of most of its comments
    family: str
    prompt: str  # the only one of a command; handlers of events have none
    replies: frozenset[str]  # reply types that it accepts, keys of `analysis.REPLY_TYPES`
    facts_type: type[Any]
    variable_types: Mapping[str, object]  # of prompts; templates are checked against them
    # of comments, besides those of prompts
    comment_variable_types: Mapping[str, object] = MappingProxyType({})
    # True: several sources (reviewers, workflows) have sections in one comment
    has_sections: bool = False
    superseded_by_push: bool = False  # True: a newer push to the pull request supersedes it
    # True: a newer event's posted answer to the same prompt supersedes it
    superseded_by_newer_answer: bool = False

    @abstractmethod
    def run(self, job: Job) -> End:
        """Process an event: read, ask Claude, plan, post."""

    def variables(self, facts: Any) -> Mapping[str, object]:
        """Return the values of `variable_types`, for `run` and for the check of the library. By
        default, they are fields of the facts.
        """
        return {name: getattr(facts, name) for name in self.variable_types}

    @property
    def name(self) -> str:
        """The handler's name in `/stats`: "IssueHandler"."""
        return type(self).__name__


def field_types(facts_type: type[object], *names: str) -> Mapping[str, object]:
    """Return the types of fields of the facts, for variables of the same names."""
    hints = get_type_hints(facts_type)
    return {name: hints[name] for name in names}


@dataclass(frozen=True, slots=True)
class Answered:
    """The analysis of an event, and a sentence for `hls why` or ""."""

    analysis: Analysis
    reason: str


def answer(
    job: Job,
    variables: Mapping[str, object],
    comment_variables: Callable[[ReplyFields], Mapping[str, object]],
    skipped: SkipReason | None,
) -> Answered:
    """Ask Claude, unless `skipped` has a static reply, and render the comment that shows the reply.

    `comment_variables` are those of the comment that shows a reply.
    """
    if skipped is not None and skipped.reply is not None:
        all_variables = {**variables, **comment_variables(skipped.reply)}
        return Answered(job.render_static(skipped.reply, all_variables), skipped.reason)
    replies = ask_all(job, variables)
    all_variables = {**variables, **comment_variables(replies.shown)}
    return Answered(job.render(replies, all_variables), replies.left_out)


def parse_comment_state(
    items: TypeAdapter[tuple[Item, ...]], state: str | None
) -> tuple[Item, ...]:
    """Return what the JSON text `EnsureComment.state` contains; () if there is none."""
    if not state:
        return ()
    try:
        return items.validate_json(state)
    except ValidationError:  # written by another version of HLS
        return ()


def plan_comment(
    analysis: Analysis,
    family: str,
    *,
    create: bool,
    section: str | None = None,
    state: str | None = None,
) -> tuple[EnsureComment, ...]:
    """Return the action that writes the comment `family`, or its `section`; () if `analysis` has no
    comment.

    If the rendered text of a section is empty, the action removes the section.
    """
    text = analysis.comment
    if text is None or (not text and section is None):
        return ()
    footer = ""
    if section is not None:
        footer = analysis.footer
    return (EnsureComment(family, text, create and bool(text), section, footer, state),)


def find_conversation(event: Event, rule: Rule) -> Conversation | None:
    """Return the issue or pull request of the event. If the event closes it, the settings can name
    another issue.
    """
    event_conversation = find_own_conversation(event)
    if not event.is_closing:
        return event_conversation
    return find_fallback_issue(rule) or event_conversation


def find_own_conversation(event: Event) -> Conversation | None:
    """Return the event's issue or pull request. In a comment event, the pull request is under the
    key "issue".
    """
    if event.pull_request is not None:
        return Conversation(event.pull_request.number, is_pull_request=True)
    if event.issue is None:
        return None
    return Conversation(event.issue.number, is_pull_request=event.issue.is_pull_request)


def find_fallback_issue(rule: Rule) -> Conversation | None:
    """Return the fallback issue that the settings name for the rule's event; None if no issue is
    named.
    """
    number = rule.effective.find_fallback_number(rule.event_key)
    if number is None:
        return None
    return Conversation(number, is_pull_request=False, is_fallback_issue=True)


def current_issue(event: Event, reader: GithubReader) -> Issue:
    """Return the event's issue, read from GitHub unless the event is recent."""
    assert event.issue is not None  # parse_event rejects such an event without one
    if event.is_recent:
        return event.issue
    return reader.issue(event.issue.number)


def read_offer(reader: GithubReader, limits: PromptLimits) -> LabelOffer | None:
    """Return the labels of the repository that the prompt lists; None if it lists none."""
    if limits.taken_labels is None:
        return None
    return select_offer(reader.labels(), limits.labels, limits.taken_labels)


def check_conversation(
    event: Event, conversation: Issue | PullRequest, *, may_be_closed: bool = False
) -> None:
    """Raise `ConversationIgnored` if it is locked or marked "skip hls", or `Superseded` if it is
    closed.

    If the event is that this conversation was closed, raise `Superseded` if it is open again. With
    `may_be_closed`, the state does not matter.
    """
    kind = "issue"
    if isinstance(conversation, PullRequest):
        kind = "pull request"
    name = f"the {kind} {event.repository.full_name}#{conversation.number}"
    event_conversation = event.conversation
    was_closed = (
        event.is_closing
        and event_conversation is not None
        and event_conversation.number == conversation.number
    )
    is_closed = conversation.state == "closed"
    if is_closed and not was_closed and not may_be_closed:
        raise Superseded(f"{name} is closed")
    if was_closed and not is_closed and not may_be_closed:
        raise Superseded(f"{name} is open again")
    if conversation.locked:
        unlock = "to have the event processed, unlock it and redeliver the event from GitHub"
        locked = f"{name} is locked, so HLS changes no labels or comments there; {unlock}"
        raise ConversationIgnored(locked, "conversation locked")
    skip_reason = asked_to_skip(conversation.title, (label.name for label in conversation.labels))
    if skip_reason is not None:
        raise ConversationIgnored(f"{name} is skipped: {skip_reason}", "asked to skip")


def count_comment_tokens(comment: Comment) -> int:
    return estimate_tokens(comment.body[:MAX_BODY_CHARACTERS]) + TOKENS_PER_COMMENT


def newest_within_budget(
    items: Sequence[Item], tokens: int, count_tokens: Callable[[Item], int]
) -> tuple[Item, ...]:
    """Return as many of the last `items` as fit into `tokens`, in the same order."""
    newest: list[Item] = []
    for item in reversed(items):
        tokens -= count_tokens(item)
        if tokens < 0:
            break
        newest.append(item)
    return tuple(reversed(newest))


def common_variables(
    event: Event, prompt: str, effective: EffectiveSettings | None = None
) -> Mapping[str, object]:
    """Return the variables that all prompts have.

    `prompt` is the prompt's name, such as "issues/analyze". `effective` are the settings of the
    repository; None: the defaults.
    """
    config: Mapping[str, object] = {}
    if effective is not None:
        config = effective.variables
    return {
        "repository": event.repository,
        "sender": event.sender,
        "action": event.action,
        "rule": view_rule(event, prompt, effective),
        "delivery": event.delivery,
        "event": event.payload,
        "config": config,
    }


def view_rule(event: Event, prompt: str, effective: EffectiveSettings | None) -> RuleView:
    """Return the variable `rule` of a prompt's template; see `common_variables`."""
    if effective is None:
        return RuleView(event.key, prompt, dry_run=False)
    comments = effective.comments
    post_to = effective.find_fallback_number(event.key)
    source_url = ""
    if post_to is not None:
        source_url = find_source_url(event)
    return RuleView(
        event.key,
        prompt,
        dry_run=effective.features.dry_run,
        language=comments.language,
        tone=comments.tone,
        length=comments.length,
        summary=comments.summary,
        layout=comments.layout,
        show_cost=comments.show_cost,
        agent_prompt=comments.agent_prompt,
        labels=effective.labels,
        paths=PathsView(effective.paths.ignore),
        categories=effective.review.categories,
        verify=effective.review.verify,
        post_to=post_to,
        source=event.name.replace("issues", "issue").replace("_", " "),
        source_url=source_url,
    )


def find_source_url(event: Event) -> str:
    """Return the address of what the event is about: its object, the comparison of a push, or else
    the repository.
    """
    payload = event.payload
    kind = event.name.rpartition("_")[0]
    subjects = [payload.get(name) for name in ("comment", "issue", event.name, kind)]
    subjects += [{"html_url": payload.get("compare")}, payload.get("repository")]
    for subject in subjects:
        if isinstance(subject, Mapping):
            url = subject.get("html_url")
            if url and isinstance(url, str):
                return url
    return ""


WITHHELD = (
    "the answer was left out, because its quote does not occur once in the section that it names"
)


@dataclass(frozen=True, slots=True)
class DocumentSection:
    path: str
    title: str  # the headings above it and its own: "Setup > Install"
    text: str
    url: str  # of its lines at the commit that was read


@dataclass(frozen=True, slots=True)
class QuotedSection:
    """A quote of Claude's reply, and the section that contains it."""

    quote: str
    path: str
    title: str
    url: str  # "" if it is unknown


def view_sections(sections: Sequence[StoredSection], html_url: str) -> tuple[DocumentSection, ...]:
    """Return sections for the prompt. `html_url` is that of the issue or pull request with the
    question.
    """
    return tuple(
        DocumentSection(
            section.path,
            section.title,
            section.text,
            permalink(html_url, section.commit, section.path, section.end_line, start=section.line),
        )
        for section in sections
    )


def describe_sections(sections: Sequence[DocumentSection]) -> str:
    """Return a sentence part for `hls why`: "2 sections of docs/setup.md and README.md (about 900
    tokens)".
    """
    if not sections:
        return ""
    paths = " and ".join(dict.fromkeys(section.path for section in sections))
    tokens = sum(estimate_tokens(section.text) for section in sections)
    return f"{count(len(sections), 'section')} of {paths} (about {tokens} tokens)"


def list_quoted(
    reply: ReplyFields, sections: Sequence[DocumentSection]
) -> tuple[QuotedSection, ...]:
    """Return the quotes of a reply that the sections contain."""
    if not isinstance(reply, AnsweringReply):
        return ()
    quoted: list[QuotedSection] = []
    for source in reply.sources:
        if _is_quoted(source, sections):
            section = sections[source.number - 1]
            quoted.append(QuotedSection(source.quote, section.path, section.title, section.url))
    return tuple(quoted)


def keep_proved_answers(replies: Replies, sections: Sequence[DocumentSection]) -> Replies:
    """Return the answers without quotes that the section does not contain.

    An answer that loses all of its quotes is left out, because nothing shows that it is true of
    this project.
    """
    proved = tuple(
        replace(reply, fields=_keep_proved(reply.fields, sections)) for reply in replies.all
    )
    pairs = zip(replies.all, proved, strict=True)
    is_withheld = any(
        _has_sources(old.fields) and not _has_sources(new.fields) for old, new in pairs
    )
    left_out = replies.left_out
    if is_withheld:
        left_out = "; ".join(filter(None, [left_out, WITHHELD]))
    return replace(replies, all=proved, left_out=left_out)


def _has_sources(reply: ReplyFields) -> bool:
    return isinstance(reply, AnsweringReply) and bool(reply.sources)


def _keep_proved(reply: ReplyFields, sections: Sequence[DocumentSection]) -> ReplyFields:
    if not isinstance(reply, AnsweringReply):
        return reply
    proved = [source for source in reply.sources if _is_quoted(source, sections)]
    if len(proved) == len(reply.sources):
        return reply
    changes: dict[str, object] = {"sources": proved}
    if not proved:
        changes[reply.answer_field] = ""
        changes["worth_saying"] = (
            reply.worth_saying and isinstance(reply, IssueAnalysis) and bool(reply.missing)
        )
    return reply.model_copy(update=changes)


def _is_quoted(source: Source, sections: Sequence[DocumentSection]) -> bool:
    if not 1 <= source.number <= len(sections):
        return False
    return contains_quote(sections[source.number - 1].text, source.quote)


def contains_quote(text: str, quote: str) -> bool:
    """Return True if a quote that Claude copied from its prompt occurs once in a text. White space
    does not count.

    What occurs often, such as a single word, proves nothing.
    """
    copied = as_one_line(quote)
    return bool(copied) and as_one_line(text).count(copied) == 1


def as_one_line(text: str) -> str:
    return " ".join(clean_and_redact(text).split())

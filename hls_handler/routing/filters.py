"""Checks if an enabled event is ignored, for example because a bot caused it or the issue has the
label `skip-hls`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from hls_handler.events import Account
from hls_handler.routing.envelope import (
    DELETED_COMMENT,
    LABEL_ACTIONS,
    REVIEW_REQUESTED,
    RoutingInput,
)
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings

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
    "not requested",
    "asked to skip",
    "conversation deleted",
    "conversation locked",
    "app installation",
    "not a label of HLS",
    "too many runs",
    "over budget",
    "stopped",
    "no permission",
]
"""Kinds of reasons to ignore a delivery. Ignored deliveries are counted by kind."""


BY_OPERATOR: frozenset[IgnoredKind] = frozenset(
    {
        "event not enabled",
        "no prompt",
        "several prompts",
        "prompt switched off",
        "own account",
        "other bot",
    }
)
"""Kinds that only settings decide. What causes the others, the author of a pull request controls,
too.
"""


@dataclass(frozen=True, slots=True)
class Ignored:
    kind: IgnoredKind
    # a sentence, with the file and line of the setting, or the file of the prompt, if one decides
    reason: str
    is_for_worker: bool = False  # the worker ignores it, and sets the check on the head commit


MARKER = "<!-- hls:"  # the beginning of the invisible last line of our comments

MAX_SEARCHED_CHARACTERS = 10_000  # characters of a comment that are searched

HTML_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
CODE = re.compile(
    r"^[ \t]*(?:(?:[-*+]|[0-9]{1,9}[.)])[ \t]+)*(```|~~~).*?(?:^[ \t]*\1|\Z)"
    r"|`[^`\n]*`|^(?: {4}|\t).*$",
    re.MULTILINE | re.DOTALL,
)
QUOTED_LINE = re.compile(r"^[ \t]*>.*$", re.MULTILINE)

HOW_TO_START = re.compile(
    r"how (?:can|do|could|should|would|may|might) (?:i|we|one|a (?:beginner|newcomer|student)) "
    r"(?:start|begin|get started|contribute|help|join|work on)"
    r"|how to (?:start|begin|get started|contribute)\b"
    r"|where (?:can|do|should) (?:i|we) (?:start|begin)"
    r"|(?:my|a|his|her|their) first (?:contribution|issue|pull request|pr)\b"
    r"|first[- ]time contributor"
    r"|(?:can|may|could|might) (?:i|we) (?:please )?"
    r"(?:work on|take(?: up)?|pick(?: up)?|try|tackle|help with) (?:this|it)"
    r"|(?:i(?:'d| would)? (?:like|love|want)|(?:i am|i'm) willing) to "
    r"(?:work on|contribute|help|take|pick up|start)"
    r"|(?:assign|give) (?:this|it|the issue)(?: issue)? to me|please assign me"
    r"|wie (?:kann|könnte) ich (?:anfangen|beginnen|mithelfen|mitmachen|beitragen|helfen)"
    r"|mein erster beitrag"
    r"|c[oó]mo (?:puedo|podr[ií]a) (?:empezar|comenzar|contribuir|ayudar|colaborar)"
    r"|mi primera contribuci[oó]n"
    r"|comment (?:puis-je|je peux|peut-on) (?:commencer|contribuer|aider|participer)"
    r"|ma premi[eè]re contribution"
    r"|como (?:posso|poderia) (?:começar|comecar|contribuir|ajudar)|minha primeira contribuiç[aã]o"
    r"|как (?:я могу |мне |можно )?(?:начать|помочь|внести|поучаствовать)"
    r"|如何(?:开始|参与|贡献)|怎么(?:开始|参与|贡献)"
    r"|どうやって(?:始め|貢献|参加)|어떻게 (?:시작|기여|참여)",
    re.IGNORECASE,
)
"""Matches questions such as "can I work on this?". A false match is harmless, because Claude reads
the comment.
"""

COURTESY = re.compile(
    r"(?:thanks?|thank you|thx|merci|danke|gracias|obrigad[oa]|спасибо|谢谢|ありがとう"
    r"|nice|great)\b"
)

MIN_REQUEST_LETTERS = 10  # a mention with fewer other letters is a greeting, not a request
MAX_COURTESY_CHARACTERS = 60
"""A text that begins with thanks, contains no question mark and is not longer than this is not a
request.
"""

QUESTION_MARKS = frozenset("?？؟⁇")  # also those of Chinese, Japanese, Arabic and Persian


def strip_code_and_quotes(text: str) -> str:
    """Return the first `MAX_SEARCHED_CHARACTERS` of a comment, without code, quoted lines and HTML
    comments.
    """
    visible = HTML_COMMENT.sub(" ", text[:MAX_SEARCHED_CHARACTERS].replace("\r\n", "\n"))
    return QUOTED_LINE.sub(" ", CODE.sub(" ", visible))


def asks_how_to_start(text: str) -> bool:
    own_text = strip_code_and_quotes(text).replace("\u2019", "'")
    return HOW_TO_START.search(" ".join(own_text.split())) is not None


BOT_SUFFIX = "[bot]"


def mentioned_name(login: str) -> str:
    """Return what people write after the @ for an account: "hls" for that of an App, "hls[bot]"."""
    return login.removesuffix(BOT_SUFFIX)


def addressed_to_bot(text: str, logins: Collection[str]) -> bool:
    """Return True if a comment mentions one of HLS's accounts, and says more than hello or thanks.

    `logins` are as in webhooks: ("hls[bot]",).
    """
    own_text = strip_code_and_quotes(text)
    names = "|".join(re.escape(mentioned_name(login)) for login in logins)
    end = rf"(?:{re.escape(BOT_SUFFIX)}|(?![\w/-]))"
    mention = re.compile(rf"(?<![\w/@-])@(?:{names}){end}", re.IGNORECASE)
    if not names or not mention.search(own_text):
        return False
    rest = " ".join(mention.sub(" ", own_text).split()).strip(" ,.:;!-").lower()
    if not QUESTION_MARKS.isdisjoint(rest):
        return True
    if len(rest) <= MAX_COURTESY_CHARACTERS and COURTESY.match(rest):
        return False
    return sum(character.isalpha() for character in rest) >= MIN_REQUEST_LETTERS


SKIP_LABEL = "skip-hls"
SKIP_IN_TITLE = "[skip hls]"

RUN_EVENTS = ("workflow_run", "check_run")
FAILED = ("failure", "timed_out", "startup_failure")  # conclusions of their runs that are analysed
CANCELLED = "cancelled"  # the conclusion also of a run that ran out of time
PASSED = "success"  # the conclusion that may resolve an earlier failure

# an edit is analysed only if it changed one of these
ANALYSED_FIELDS = frozenset({"title", "body", "base"})


def find_ignored(
    routing_input: RoutingInput,
    *,
    prompt_file: str,
    effective: EffectiveSettings,
    settings: Settings,
    accounts: Sequence[Account],
) -> Ignored | None:
    """Check an event that the settings enable. Return the first reason to ignore it; None if there
    is no reason.

    `accounts` are those of `Router`.
    """
    irrelevant = _find_irrelevant(routing_input, prompt_file, accounts)
    if irrelevant is not None:
        return irrelevant
    own_action = find_own_action(routing_input, settings, accounts)
    if own_action is not None:
        return own_action
    if routing_input.event == "issue_comment" and not _is_question(routing_input, accounts):
        whom = f"@{mentioned_name(accounts[0].login)}" if accounts else "HLS's account"
        reason = f"the comment neither asks how to start nor asks {whom} anything"
        return Ignored("nothing asked", reason)
    is_requested = routing_input.action == REVIEW_REQUESTED or routing_input.is_requested
    # CODEOWNERS request reviews in the name of the author, who may be a bot
    is_requested_by_person = is_requested and not routing_input.sender_is_bot
    for login in find_bots(routing_input):
        if not is_requested_by_person and not effective.features.includes_bot(login):
            key = effective.find_key("features.bots")
            change = settings.sources.change(key, f'["{login}"]')
            advice = f"{change}, or add it to that list, to process what it opens"
            return Ignored("other bot", f"{login} is a bot; {advice}")
    if routing_input.draft and not is_requested and not effective.features.drafts:
        change = settings.sources.change(effective.find_key("features.drafts"), "true")
        reason = f"the pull request is a draft; mark it ready for review, or {change}"
        return Ignored("draft", reason)
    skip_reason = asked_to_skip(routing_input.title, routing_input.labels)
    if skip_reason:
        return Ignored("asked to skip", skip_reason)
    unwanted = _find_unwanted(routing_input, effective)
    if unwanted is None:
        return None
    where = effective.where("review.when", settings)
    return Ignored("not requested", f"{unwanted}; comment /review to have it reviewed ({where})")


def _find_irrelevant(
    routing_input: RoutingInput, prompt_file: str, accounts: Sequence[Account]
) -> Ignored | None:
    """Return the reason to ignore an edit, a run, a check or a review request as such."""
    if routing_input.action == "edited" and not routing_input.changed & ANALYSED_FIELDS:
        changed = ", ".join(sorted(routing_input.changed)) or "nothing"
        rerun = f"{prompt_file} runs again only when the title, the body or the base branch changes"
        reason = f"{routing_input.key} changed {changed}; {rerun}"
        return Ignored("nothing relevant changed", reason)
    if routing_input.event in RUN_EVENTS and not _may_have_failed(routing_input):
        ended = "has not ended"
        if routing_input.conclusion:
            ended = f"ended with {routing_input.conclusion}"
        what = routing_input.event.replace("_", " ")
        reason = f"the {what} {ended}; {prompt_file} handles runs that failed: {', '.join(FAILED)}"
        return Ignored("nothing failed", reason)
    if routing_input.check_app == "github-actions":
        reason = "the check is a job of GitHub Actions, whose workflow run is an event, too"
        return Ignored("nothing failed", reason)
    if any(same_login(f"{routing_input.check_app}[bot]", account.login) for account in accounts):
        return Ignored("own account", "the check is that of HLS")
    is_for_hls = any(same_login(routing_input.reviewer, account.login) for account in accounts)
    if routing_input.action == REVIEW_REQUESTED and accounts and not is_for_hls:
        whom = routing_input.reviewer or "a team"
        advice = f"request one by {accounts[0].login}, the account of HLS, to have it analysed"
        return Ignored("another's review", f"a review by {whom} was requested; {advice}")
    return None


def _may_have_failed(routing_input: RoutingInput) -> bool:
    """Return True also for a run that passed, because it may resolve a failure."""
    if routing_input.event == "workflow_run" and routing_input.conclusion == CANCELLED:
        return True  # the worker reads the logs of its jobs
    return routing_input.conclusion in (*FAILED, PASSED)


def _find_unwanted(routing_input: RoutingInput, effective: EffectiveSettings) -> str | None:
    """Return why `review.when` leaves out an event without a request to review it; None if it
    includes the event.
    """
    when = effective.review.when
    label = effective.review_label
    may_review = routing_input.event == "pull_request" and routing_input.action in (
        *BRINGS_DIFF,
        "edited",
    )
    if when == "push" or routing_input.is_requested or not may_review:
        return None
    if when == "request":
        return "no review of this commit was requested"
    if when == "opened":
        if routing_input.action in OPENS:
            return None
        return "pull requests are reviewed when they are opened, and this event is a later one"
    if any(same_login(label, name) for name in routing_input.labels):
        return None
    return f"the pull request does not have the label {label}"


def as_request(
    routing_input: RoutingInput, effective: EffectiveSettings, accounts: Sequence[Account]
) -> RoutingInput:
    """Return a requested review if somebody sets the label of `review.when`; other events
    unchanged.
    """
    label = effective.review_label
    is_set = (routing_input.event, routing_input.action) == ("pull_request", "labeled")
    if not is_set or routing_input.label is None or not same_login(label, routing_input.label):
        return routing_input
    if any(is_own_action(routing_input, account) for account in accounts):
        return routing_input
    return replace(routing_input, action="synchronize", is_requested=True)


def find_bots(routing_input: RoutingInput) -> tuple[str, ...]:
    """Return the bots among the authors of what the event is about: a conversation, and a comment
    or review there.

    A bot's action on the issue or pull request of a person, such as a push, is an event of the
    person. If nothing in the event has an author, it belongs to its sender. The handlers of runs
    read who opened the pull request.
    """
    authors = (
        (routing_input.author, routing_input.author_is_bot),
        (routing_input.comment_author, routing_input.comment_author_is_bot),
    )
    if not any(login for login, _ in authors) and routing_input.event not in RUN_EVENTS:
        authors = ((routing_input.sender, routing_input.sender_is_bot), authors[1])
    return tuple(login for login, is_bot in authors if login and is_bot)


OPENS = ("opened", "reopened", "ready_for_review")
"""Actions after which a pull request awaits its first review."""

BRINGS_DIFF = ("opened", "synchronize", "reopened", "ready_for_review")
"""Actions of pull requests whose head commit, or its diff, may be new."""

LEAVES_COMMIT = ("pull_request.synchronize", "pull_request.closed")


def brings_diff(routing_input: RoutingInput) -> bool:
    """Return True if the head commit of the event's pull request, or its diff, may be new.

    A push may return to an older commit; its check may be from before the base branch was changed.
    """
    if routing_input.event != "pull_request":
        return False
    return routing_input.action in BRINGS_DIFF or is_retargeted(routing_input)


def leaves_commit(routing_input: RoutingInput) -> bool:
    """Return True if another commit than before, or none, is the head of the pull request."""
    return routing_input.key in LEAVES_COMMIT


def is_retargeted(routing_input: RoutingInput) -> bool:
    return routing_input.action == "edited" and "base" in routing_input.changed


def find_own_action(
    routing_input: RoutingInput, settings: Settings, accounts: Iterable[Account]
) -> Ignored | None:
    """Return `Ignored` if HLS itself caused the event, else None."""
    for account in accounts:
        if is_own_action(routing_input, account):
            return ignore_own_action(settings, account)
    return None


def ignore_own_action(settings: Settings, bot: Account) -> Ignored:
    what = "whose App" if settings.github.app else "whose token"
    where = settings.sources.where(settings.github.credential_key)
    loops = "its own actions are ignored, because otherwise HLS would answer itself"
    reason = f"{bot.login} is the account of HLS, {what} is set at {where}; {loops}"
    return Ignored("own account", reason)


def asked_to_skip(title: str, labels: Iterable[str]) -> str | None:
    """Return a reason if the label `skip-hls` or "[skip hls]" in the title asks to skip the
    conversation, else None.
    """
    if any(label.lower() == SKIP_LABEL for label in labels):
        # removing a label does not cause an analysis
        undo = "remove the label, then edit the title or text, or close and reopen it"
        asks = f"the label {SKIP_LABEL} asks HLS to skip this conversation"
        return f"{asks}; {undo}, to have it processed"
    if SKIP_IN_TITLE in title.lower():
        asks = f"{SKIP_IN_TITLE} in the title asks HLS to skip this conversation"
        return f"{asks}; remove it to have it processed"
    return None


def is_own_action(routing_input: RoutingInput, bot: Account) -> bool:
    # HLS deletes none, and the author is not who deleted it
    if routing_input.key == DELETED_COMMENT:
        return bot.is_bot and same_login(routing_input.sender, bot.login)
    if bot.is_bot:  # only HLS uses such an account
        logins = (routing_input.sender, routing_input.author, routing_input.comment_author)
        return any(same_login(login, bot.login) for login in logins)
    # A person uses the account, too, so only comments with the marker, label changes and commit
    # statuses count.
    if MARKER in routing_input.comment_body and same_login(routing_input.comment_author, bot.login):
        return True
    is_label_or_status = routing_input.action in LABEL_ACTIONS or routing_input.event == "status"
    return is_label_or_status and same_login(routing_input.sender, bot.login)


def _is_question(routing_input: RoutingInput, accounts: Sequence[Account]) -> bool:
    text = routing_input.comment_body
    return asks_how_to_start(text) or is_addressed(text, accounts)


def is_addressed(text: str, accounts: Sequence[Account]) -> bool:
    """Return True if a comment asks HLS something, or anybody while the `accounts` are unknown."""
    if not accounts:
        return "@" in text
    return addressed_to_bot(text, [account.login for account in accounts])


def same_login(login: str | None, other: str) -> bool:
    return login is not None and login.lower() == other.lower()

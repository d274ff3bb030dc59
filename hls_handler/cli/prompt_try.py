"""`hls prompts try`: try a prompt on one event, and print every step. Nothing is written."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

import typer
from rich.console import Console

from hls_handler.actions import Outcome
from hls_handler.analysis import Prompt, RenderedPrompt, Reply, UnusableReply, Usage
from hls_handler.batches.trial import Trial, read_posted_history, read_unstored, require_event
from hls_handler.claude.provider import Provider
from hls_handler.claude.providers import Providers, connect_claude
from hls_handler.claude.reply_parsing import advise
from hls_handler.cli.event_input import (
    EventName,
    Live,
    Subject,
    SubjectName,
    connect_github,
    get_prompt,
    load_subject,
    use_sandbox,
)
from hls_handler.cli.options import (
    AsJson,
    Config,
    abort,
    lacks_github_token,
    load,
    require_claude_key,
)
from hls_handler.cli.terminal import print_json, print_line, print_lines, waiting
from hls_handler.engine.codecs import decode_reply, encode_reply, redact_unusable
from hls_handler.engine.handler_job import check_fallback_issue, name_fallback_setting
from hls_handler.engine.library import GUID, load_checked
from hls_handler.engine.posting import preview
from hls_handler.errors import (
    BudgetExceeded,
    ConversationIgnored,
    PayloadError,
    Permanent,
    PromptError,
    StepFailed,
    Superseded,
    with_remedy,
)
from hls_handler.events import Account, Event, parse_event
from hls_handler.github.client import ReadOnlyGithub
from hls_handler.github.writer import GithubWriter
from hls_handler.handlers.reader import EmptyHistory, RepositoryHistory
from hls_handler.prompting.prompt import Library
from hls_handler.queue.checkpoints import PendingChanges
from hls_handler.routing import (
    Command,
    Ignored,
    LabelCorrection,
    QueueCheck,
    Router,
    Rule,
    from_event,
    parse_envelope,
)
from hls_handler.settings.effective import RepositoryTable, without_entry
from hls_handler.settings.model import Settings
from hls_handler.settings.yaml_parser import format_yaml
from hls_handler.store.conversations import ConversationHistory, ConversationRef, ConversationState
from hls_handler.store.limits import Limit, limit_review
from hls_handler.web.webhook import check_payload
from hls_handler.wording import add_usd, count, format_usd

ClaudeSource = Literal["real", "sandbox"]

FORCE_HINT = "; use --prompt NAME to try it anyway"
SANDBOX_ALTERNATIVE = "use --claude sandbox, whose answers are canned"
READ_ANONYMOUSLY = (
    "no token is set, so GitHub is read without one: public repositories only, 60 requests an hour,"
    " and for a review neither linked issues nor files besides the patches"
)

MARGIN = "│ "
"""Prefix of each line of a prompt, reply or comment, so that it cannot be mistaken for output of
the command.
"""


def try_(
    subject_name: SubjectName,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="PROMPT",
            help=(
                "Use this prompt instead of the event's own, even if the service would ignore the"
                " event."
            ),
        ),
    ] = None,
    event: EventName = None,
    live: Live = False,
    claude: Annotated[
        ClaudeSource,
        typer.Option(
            metavar="real|sandbox", help="Get replies from Claude or from the sandbox (canned)."
        ),
    ] = "real",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Try a prompt on an event, with a real reply from Claude.

    Prints the rule and the prompt that the service would use for the event, or why the event would
    be ignored. Then prints the question to Claude (its system message only with --json, as
    `hls render` prints it), the reply, the labels and the comment that would be written to GitHub,
    and the cost. The event's handler runs as in the service, but the service's database is neither
    read nor written, and nothing is written to GitHub. Claude's reply costs money, but does not
    count towards the service's claude.calls_per_hour.

    The facts about the event come from the built-in sandbox. With --live, or for the URL of an
    issue or a pull request, the facts are read from GitHub. A URL is tried as an `opened` event,
    with the current state of the issue or pull request. Without a token, public repositories can be
    read, with 60 requests an hour. With --prompt, a closed or locked issue or pull request is
    treated as if it were open.
    """
    settings = load(config, credentials=False)
    if claude == "real":
        require_claude_key(settings, alternative=SANDBOX_ALTERNATIVE)
    library = load_checked(settings)
    named_prompt = None
    if prompt is not None:
        named_prompt = get_prompt(library, prompt)
    subject = load_subject(subject_name, event, live=live, settings=settings)
    if subject.live and lacks_github_token(settings):
        print_line(READ_ANONYMOUSLY, err=True)
    try:
        with (
            use_sandbox(subject, settings, for_claude=claude == "sandbox") as used,
            connect_github(subject, used, assume_open=named_prompt is not None) as github,
            connect_claude(used.claude) as client,
        ):
            bot = github.fetch_bot_account()
            chosen = _choose(used, library, subject, named_prompt, bot)
            if not as_json:
                _print_chosen(chosen, settings)
            sender = Sender(client)
            trial = EventTrial(used, library, github, bot, sender)
            with waiting("Asking Claude"):
                tried = trial.run(chosen, is_forced=named_prompt is not None)
    except PayloadError as exc:
        abort(f"{subject.name}: {exc}")
    if as_json:
        document = _to_document(chosen, tried, sender.questions, settings)
        print_json({**document, "claude": claude})
    else:
        _print_run(chosen, tried, sender.questions, settings)
        cost = format_usd(_sum_cost(sender.questions))
        if claude == "sandbox":
            cost += "; canned answers of the sandbox, nothing was paid"
        print_line(f"cost        {count(len(sender.questions), 'question')}, {cost}")
    if tried.state != "done":
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class TriedEvent:
    """An event, what the router decides about it, and the rule that is tried."""

    subject: Subject
    event: Event
    routed: Rule | Ignored
    rule: Rule | None  # None: the event is ignored, and no prompt is named

    @property
    def prompt(self) -> str | None:
        if self.rule is None:
            return None
        return self.rule.prompt

    @property
    def conversation(self) -> str:
        """The event's issue or pull request, or else its repository: "octo/widgets#7"."""
        name = self.event.repository.full_name
        conversation = self.event.conversation
        if conversation is None:
            return name
        return f"{name}#{conversation.number}"


TryState = Literal["done", "ignored", "superseded", "failed"]


@dataclass(slots=True)
class Tried:
    """The writes of a run, as far as they are known, and how it ended."""

    outcomes: list[Outcome] = field(default_factory=list)
    posted_on: int | None = None  # number of the issue that `comments.post_to` names, if it is used
    state: TryState = "done"
    reason: str = ""

    def end(self, state: TryState, reason: str) -> None:
        self.state = state
        self.reason = reason


def _choose(
    settings: Settings, library: Library, subject: Subject, prompt: Prompt | None, bot: Account
) -> TriedEvent:
    """Route the event. A given `prompt` is chosen for ignored events, too.

    Raises `PayloadError` if the body does not match the event, and `NotRepeatable` if `prompt` is
    not for it.
    """
    check_payload(subject.event, parse_envelope(subject.body))
    event = parse_event(subject.event, GUID, subject.body)
    table = RepositoryTable(settings)
    routed = Router(settings, table, library, (bot,)).route(from_event(event))
    if isinstance(routed, LabelCorrection | Command | QueueCheck):
        why = routed.why(settings.sources)
        routed = Ignored("no prompt", f"{why}; no prompt is used for them")
    rule = None
    effective = table.find(event.repository.full_name) or without_entry(settings)
    if isinstance(routed, Rule):
        rule = routed
        effective = rule.effective
    if prompt is not None:
        require_event(library, prompt.name, event, effective)
        rule = Rule(event.key, prompt.name, effective, prompt.path)
    return TriedEvent(subject, event, routed, rule)


class EventTrial:
    """Runs an event with a rule: reads GitHub, asks Claude, and writes nothing."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        github: ReadOnlyGithub,
        bot: Account,
        sender: Sender,
    ) -> None:
        self._settings = settings
        self._library = library
        self._sender = sender
        self._github = github
        self._bot = bot

    def run(self, chosen: TriedEvent, *, is_forced: bool) -> Tried:
        """Return what would be written. The error of a failed step is not raised, but returned."""
        tried = Tried()
        try:
            if chosen.rule is None:
                tried.end("ignored", _explain_ignored(chosen.routed))
            else:
                tried.end("done", self._run_rule(chosen, chosen.rule, tried))
        except ConversationIgnored as exc:
            tried.end("ignored", str(exc))
        except Superseded as exc:
            reason = str(exc)
            if not is_forced:
                reason += FORCE_HINT
            tried.end("superseded", reason)
        except UnusableAnswer as exc:
            file = self._library.file(exc.rendered.prompt.name)
            advice = advise(self._settings.claude, file, exc.rendered, exc.reply)
            tried.end("failed", f"{exc}; {advice}")
        except (StepFailed, PromptError) as exc:
            tried.end("failed", with_remedy(exc))
        return tried

    def _run_rule(self, chosen: TriedEvent, rule: Rule, tried: Tried) -> str:
        """Return what became of the event, as `hls why` would."""
        event = chosen.event
        settings = self._settings
        limit = None
        if event.name == "pull_request":
            limit = limit_review(settings, rule.effective)
        self._sender.begin(limit)
        reader = self._github.reader(event.repository.full_name, bot=self._bot)
        history: RepositoryHistory = EmptyHistory(accounts=(self._bot.login,))
        if chosen.subject.live:
            history = read_posted_history(event, reader, self._bot)
        source = read_unstored(event, reader, settings, self._library, rule, history)
        trial = Trial(source, self._library, rule.prompt, secrets.token_bytes(16))
        job = trial.make_job(self._sender.send)
        reasons = [source.handler.run(job).reason]
        conversation = job.conversation
        if conversation is not None and conversation.is_fallback_issue:
            tried.posted_on = conversation.number
            check_fallback_issue(event, rule, conversation.number, reader, settings)
        writer = self._make_writer(event)
        for outcome in preview(writer, conversation, job.actions, rule.effective, settings):
            tried.outcomes.append(outcome)
            reasons.append(outcome.detail)
        return "; ".join(filter(None, reasons)) or "analysed; nothing to post"

    def _make_writer(self, event: Event) -> GithubWriter:
        number = 0
        if event.conversation is not None:
            number = event.conversation.number
        ref = ConversationRef(event.repository.id, self._bot.login, number)
        history = ConversationHistory(ref, PendingChanges(), lambda: ConversationState({}, {}))
        return self._github.writer(
            event.repository.full_name, bot=self._bot, history=history, guard=None
        )


def _explain_ignored(routed: Rule | Ignored) -> str:
    reason = "the service would ignore this event, see above"
    if isinstance(routed, Ignored) and routed.kind == "asked to skip":
        return reason  # --prompt does not override an opt-out
    return f"{reason}{FORCE_HINT}"


# --- output --------------------------------------------------------------------------------------


def _to_document(
    chosen: TriedEvent, tried: Tried, questions: Sequence[TriedQuestion], settings: Settings
) -> dict[str, object]:
    """Return the document of --json, without the source of the replies."""
    routed = chosen.routed
    ignored = rule = None
    if isinstance(routed, Ignored):
        ignored = {"kind": routed.kind, "reason": routed.reason}
    else:
        rule = routed.why(settings.sources)
    return {
        "event": chosen.subject.key,
        "thread": chosen.conversation,
        "facts": "github" if chosen.subject.live else "sandbox",
        "ignored": ignored,
        "rule": rule,
        "prompt": chosen.prompt,
        "questions": [_question_to_dict(question) for question in questions],
        "posted_on": tried.posted_on,
        "outcomes": [_outcome_to_dict(outcome) for outcome in tried.outcomes],
        "end": {"state": tried.state, "reason": tried.reason},
        "cost_usd": _sum_cost(questions),
    }


def _outcome_to_dict(outcome: Outcome) -> dict[str, object]:
    fields = asdict(outcome)
    del fields["url"]  # of what was written
    del fields["target"]
    return fields


def _question_to_dict(question: TriedQuestion) -> dict[str, object]:
    """Return one question with its answer. Of a call that failed, the answer's values are null."""
    rendered = question.rendered
    answer = question.answer
    usage = None if answer is None else answer.usage
    reply = unusable = None
    if isinstance(answer, Reply):
        reply = answer.fields.model_dump(mode="json")
    elif answer is not None:
        unusable = {"why": answer.why, "problem": answer.problem, "text": answer.text}
    return {
        "prompt_id": rendered.prompt.id,
        "model": question.model,
        "system": rendered.system,
        "task": rendered.task,
        "correction": question.correction and question.correction.problem,
        "reply_type": rendered.prompt.reply,
        "reply": reply,
        "unusable": unusable,
        "input_tokens": usage and usage.all_input_tokens,
        "output_tokens": usage and usage.output_tokens,
        "cost_usd": usage and usage.cost_usd,
        "took_s": usage and usage.took_s,
    }


def _sum_cost(questions: Sequence[TriedQuestion]) -> float | None:
    answers = [question.answer for question in questions]
    return add_usd(answer.usage.cost_usd for answer in answers if answer is not None)


def _print_chosen(chosen: TriedEvent, settings: Settings) -> None:
    subject = chosen.subject
    routed = chosen.routed
    print_line(f"event       {subject.key} of {chosen.conversation} ({subject.origin})")
    if isinstance(routed, Ignored):
        print_line(f"ignored     ({routed.kind}) {routed.reason}")
    else:
        print_line(f"rule        {routed.why(settings.sources)}")
    print_line(f"prompt      {chosen.prompt or 'none'}")


def _print_run(
    chosen: TriedEvent, tried: Tried, questions: Sequence[TriedQuestion], settings: Settings
) -> None:
    console = Console(highlight=False, emoji=False, markup=False)
    for question in questions:
        title = f"{question.rendered.prompt.id}, {question.model}"
        if question.correction is not None:
            title += ", second attempt"
        console.rule(title, align="left")
        _print_question(question)
    if tried.outcomes:
        console.rule("changes on GitHub (not made)", align="left")
    if chosen.rule is not None and tried.posted_on is not None:
        chosen_by = name_fallback_setting(chosen.rule, settings)
        issue = f"issue {tried.posted_on}"
        print_line(f"posted on   {issue}, which {chosen_by} chooses for the comment")
    for outcome in tried.outcomes:
        print_line(f"{outcome.action:<11} {outcome.detail}")
        if outcome.body is not None:
            _print_text(outcome.body)
    console.rule()
    print_line(f"{tried.state:<11} {tried.reason}")


def _print_question(question: TriedQuestion) -> None:
    answer = question.answer
    print_line("task")
    _print_text(question.rendered.task)
    if question.correction is not None:
        print_line("correction  the problem of the previous reply, as sent to Claude")
        _print_text(question.correction.problem)
    if answer is None:
        print_line("reply       none")
        return
    if isinstance(answer, Reply):
        print_line(f"reply       {question.rendered.prompt.reply}")
        _print_text(format_yaml(answer.fields.model_dump(mode="json")))
    else:
        print_line(f"reply       invalid: {answer.problem}")
        _print_text(answer.text)
    usage = answer.usage
    tokens = f"{count(usage.all_input_tokens, 'token')} in, {usage.output_tokens} out"
    print_line(f"took        {usage.took_s:.1f} s, {tokens}, {format_usd(usage.cost_usd)}")


def _print_text(text: str) -> None:
    print_lines("\n".join(f"{MARGIN}{line}" for line in text.split("\n")))


class UnusableAnswer(Permanent):
    """Claude's reply in a trial cannot be used."""

    def __init__(self, rendered: RenderedPrompt, reply: UnusableReply) -> None:
        super().__init__(f"Claude's reply to {rendered.prompt.id} cannot be used: {reply.problem}")
        self.rendered = rendered
        self.reply = reply


@dataclass(slots=True)
class TriedQuestion:
    """A request of a trial, and what came of it."""

    rendered: RenderedPrompt
    model: str
    # the invalid reply that Claude is asked to correct; None in a first question
    correction: UnusableReply | None
    answer: Reply | UnusableReply | None = None  # redacted; None if the call failed


@dataclass(slots=True)
class Sender:
    """Sends the requests of trials to Claude. As in the service, Claude is asked once to correct an
    invalid reply.
    """

    claude: Providers
    questions: list[TriedQuestion] = field(default_factory=list, init=False)  # since `begin`
    _limit: Limit | None = field(default=None, init=False)

    def begin(self, limit: Limit | None) -> None:
        """Begin the requests about a delivery, which may cost as much as `limit` allows."""
        self.questions = []
        self._limit = limit

    @property
    def usages(self) -> list[Usage]:
        return [question.answer.usage for question in self.questions if question.answer is not None]

    def send(self, rendered: RenderedPrompt) -> Reply:
        """Return the reply, redacted. Raises `BudgetExceeded`, `UnusableAnswer`, and what Claude
        raises.
        """
        answer = self._ask(rendered, None)
        if isinstance(answer, UnusableReply) and answer.why == "invalid":
            answer = self._ask(rendered, answer)
        if isinstance(answer, UnusableReply):
            raise UnusableAnswer(rendered, answer)
        return answer

    def _check_limit(self, estimate: Usage) -> None:
        """Raise `BudgetExceeded` if the next call does not fit the limit. An unknown price counts
        as 0.
        """
        limit = self._limit
        if limit is None:
            return
        spent_usd = sum(usage.cost_usd or 0 for usage in self.usages)
        next_usd = estimate.cost_usd or 0
        if round(spent_usd + next_usd, 6) > round(limit.amount, 6):
            raise BudgetExceeded(
                f"the next call to Claude may cost {format_usd(next_usd)}, the calls so far"
                f" have cost {format_usd(spent_usd)}, and {limit.where} allows"
                f" {format_usd(limit.amount)}"
            )

    def _ask(
        self, rendered: RenderedPrompt, correction: UnusableReply | None
    ) -> Reply | UnusableReply:
        chain = self.claude.chain(rendered.prompt.model)
        while True:
            try:
                answer = self._ask_provider(chain.next(), rendered, correction)
            except StepFailed as exc:
                chain.fail(exc)
                continue
            chain.accept(answer)
            return answer

    def _ask_provider(
        self, provider: Provider, rendered: RenderedPrompt, correction: UnusableReply | None
    ) -> Reply | UnusableReply:
        estimate = provider.upper_estimate(rendered, correction=correction)
        self._check_limit(estimate)
        question = TriedQuestion(rendered, estimate.model, correction)
        self.questions.append(question)
        answer = provider.ask(rendered, correction=correction)
        prompt = rendered.prompt
        if isinstance(answer, UnusableReply):
            question.answer = redact_unusable(answer)
        else:
            question.answer = decode_reply(
                encode_reply(answer, shown_code=rendered.code),
                reply_type=prompt.reply,
                model=prompt.reply_model,
            )
        assert question.answer is not None
        return question.answer

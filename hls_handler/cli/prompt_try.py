"""`hls prompts try`: try a prompt on one event, and print every step. Nothing is written."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Annotated, Literal

import typer
from rich.console import Console

from hls_handler.actions import Outcome
from hls_handler.analysis import ValidReply
from hls_handler.cli.event_input import LIVE_HELP, SUBJECT_HELP, Subject, connect_github, load_subject, use_sandbox
from hls_handler.cli.options import (
    Config,
    abort,
    connect_claude,
    fail,
    lacks_github_token,
    load,
    print_line,
    print_lines,
    require_claude_key,
)
from hls_handler.cli.prompt_library import get_prompt, load_library
from hls_handler.clients.github import ReadOnlyGithub
from hls_handler.engine.asking import advise, find_review_budget
from hls_handler.engine.library import GUID
from hls_handler.engine.posting import preview
from hls_handler.errors import (
    ConversationIgnored,
    HlsError,
    PayloadError,
    PromptError,
    StepFailed,
    Superseded,
    with_remedy,
)
from hls_handler.events import parse_event
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.queue.checkpoints import PendingChanges
from hls_handler.routing import Command, Ignored, LabelCorrection, QueueCheck, Router, Rule, from_event, parse_envelope
from hls_handler.settings.effective import RepositoryTable, without_entry
from hls_handler.settings.model import Settings
from hls_handler.settings.yaml_parser import format_yaml
from hls_handler.store.conversations import ConversationHistory, ConversationRef, ConversationState
from hls_handler.trials.replay import read_facts
from hls_handler.trials.sender import Question, Sender, UnusableAnswer
from hls_handler.trials.trial import Trial, require_event
from hls_handler.web.webhook import check_payload
from hls_handler.wording import add_usd, count, format_usd

ClaudeSource = Literal["real", "sandbox"]

FORCE_HINT = "; use --prompt NAME to try it anyway"
SANDBOX_ALTERNATIVE = "use --claude sandbox, whose answers are canned"
READ_ANONYMOUSLY = (
    "no token is set, so GitHub is read without one: public repositories only, 60 requests an hour, and for a review "
    "neither linked issues nor code around the hunks"
)

MARGIN = "│ "
"""Prefix of each line of a prompt, reply or comment, so that it cannot be mistaken for output of the command."""


def try_(
    subject: Annotated[str, typer.Argument(metavar="EVENT.json|NAME|URL", help=SUBJECT_HELP)],
    prompt: Annotated[
        str | None,
        typer.Option(help="Use this prompt instead of the event's own, even if the service would ignore the event."),
    ] = None,
    event: Annotated[str | None, typer.Option(help="The event's name, if the file does not contain it.")] = None,
    live: Annotated[bool, typer.Option("--live", help=LIVE_HELP)] = False,
    claude: Annotated[
        ClaudeSource, typer.Option(metavar="real|sandbox", help="Get replies from Claude or from the sandbox (canned).")
    ] = "real",
    config: Config = None,
) -> None:
    """Try a prompt on an event, with a real reply from Claude.

    Prints the rule and the prompt that the service would use for the event, or why the event would be ignored. Then
    prints the question to Claude (without its system message, which `hls render` prints), the reply, the labels and the
    comment that would be written to GitHub, and the cost. The event's handler runs as in the service, but the service's
    database is neither read nor written, and nothing is written to GitHub. Claude's reply costs money, but does not
    count towards the service's claude.calls_per_hour.

    The facts about the event come from the built-in sandbox. With --live, or for the URL of an issue or a pull request,
    the facts are read from GitHub. A URL is tried as an `opened` event, with the current state of the issue or pull
    request. Without a token, public repositories can be read, with 60 requests an hour. With --prompt, a closed or
    locked issue or pull request is treated as if it were open.

    Exit codes: 0 tried; 1 the service would not process the event, or a step failed; 2 usage error, or unusable
    settings or prompts.
    """
    settings = load(config, credentials=False)
    if claude == "real":
        require_claude_key(settings, alternative=SANDBOX_ALTERNATIVE)
    library = load_library(settings)
    named_prompt = None if prompt is None else get_prompt(library, prompt)
    chosen = load_subject(subject, event, live=live, settings=settings)
    if chosen.live and lacks_github_token(settings):
        print_line(READ_ANONYMOUSLY, err=True)
    try:
        with (
            use_sandbox(chosen, settings, for_claude=claude == "sandbox") as used,
            connect_github(chosen, used, assume_open=named_prompt is not None) as github,
            connect_claude(used.claude) as client,
        ):
            sender = Sender(client)
            is_done = _try_event(used, library, chosen, named_prompt, github, sender)
    except PayloadError as exc:
        abort(f"{chosen.name}: {exc}")
    except HlsError as exc:
        fail(with_remedy(exc))
    canned = "; canned answers of the sandbox, nothing was paid" if claude == "sandbox" else ""
    cost = format_usd(add_usd(usage.cost_usd for usage in sender.usages))
    print_line(f"cost        {count(len(sender.questions), 'question')}, {cost}{canned}")
    if not is_done:
        raise typer.Exit(1)


def _try_event(
    settings: Settings,
    library: Library,
    subject: Subject,
    prompt: Prompt | None,
    github: ReadOnlyGithub,
    sender: Sender,
) -> bool:
    """Run the event with `prompt`, and print all but the cost. Return False if it was ignored, or a step failed.

    If `prompt` is None, routing chooses the prompt or ignores the event. A given `prompt` runs for ignored events, too.
    Raises `PayloadError` if the body does not match the event, and `DependencyDown` if GitHub does not return the bot
    account. The error of a failed step is not raised, but printed.
    """
    check_payload(subject.event, parse_envelope(subject.body))
    event, bot = parse_event(subject.event, GUID, subject.body), github.fetch_bot_account()
    repository, table, conversation = event.repository.full_name, RepositoryTable(settings), event.conversation
    routed = Router(settings, table, library, (bot,)).route(from_event(event))
    if isinstance(routed, LabelCorrection | Command | QueueCheck):
        routed = Ignored("no prompt", f"{routed.why(settings.sources)}; no prompt is used for them")
    rule = routed if isinstance(routed, Rule) else None
    if prompt is not None:
        effective = rule.effective if rule else table.find(repository) or without_entry(settings)
        require_event(library, prompt.name, event, effective)
        rule = Rule(event.key, prompt.name, effective, prompt.path)
    number = f"#{conversation.number}" if conversation else ""
    print_line(f"event       {subject.key} of {repository}{number} ({subject.origin})")
    _print_rule(routed, settings, rule.prompt if rule else "none")
    outcomes: list[Outcome] = []
    try:
        if rule is None:
            # --prompt does not override an opt-out, so the message does not suggest it.
            hint = "" if isinstance(routed, Ignored) and routed.kind == "asked to skip" else FORCE_HINT
            state, reason = "ignored", f"the service would ignore this event, see above{hint}"
        else:
            sender.begin(find_review_budget(event, settings, rule.effective))
            reader, key, nothing = github.reader(repository, bot=bot), secrets.token_bytes(16), lambda: None
            source = read_facts(event, reader, settings, library, rule.effective, rule.prompt)
            job = Trial(source, library, rule.prompt, key).make_job(sender.send)
            reasons = [source.handler.run(job).reason]
            ref = ConversationRef(event.repository.id, bot.login, conversation.number if conversation else 0)
            history = ConversationHistory(ref, PendingChanges(), lambda: ConversationState({}, {}))
            writer = github.writer(
                repository, bot=bot, history=history, begin_write=nothing, check_lease=nothing, dry_run=True
            )
            for outcome in preview(writer, job.conversation, job.actions, rule.effective, settings):
                outcomes.append(outcome)
                reasons.append(outcome.detail)
            state, reason = "done", "; ".join(filter(None, reasons)) or "analysed; nothing to post"
    except ConversationIgnored as exc:
        state, reason = "ignored", str(exc)
    except Superseded as exc:
        state, reason = "superseded", f"{exc}{'' if prompt else FORCE_HINT}"
    except UnusableAnswer as exc:
        file = library.file(exc.rendered.prompt.name)
        state, reason = "failed", f"{exc}; {advise(settings.claude, file, exc.rendered, exc.reply)}"
    except (StepFailed, PromptError) as exc:
        state, reason = "failed", with_remedy(exc)
    _print_run(sender.questions, outcomes)
    print_line(f"{state:<11} {reason}")
    return state == "done"


def _print_rule(routed: Rule | Ignored, settings: Settings, prompt: str) -> None:
    if isinstance(routed, Ignored):
        print_line(f"ignored     ({routed.kind}) {routed.reason}")
    else:
        print_line(f"rule        {routed.why(settings.sources)}")
    print_line(f"prompt      {prompt}")


def _print_run(questions: Sequence[Question], outcomes: Sequence[Outcome]) -> None:
    console = Console(highlight=False, emoji=False, markup=False)
    for question in questions:
        repeated = "" if question.correction is None else ", second attempt"
        console.rule(f"{question.rendered.prompt.id}, {question.model}{repeated}", align="left")
        _print_question(question)
    if outcomes:
        console.rule("changes on GitHub (not made)", align="left")
    for outcome in outcomes:
        print_line(f"{outcome.action:<11} {outcome.detail}")
        if outcome.body is not None:
            _print_text(outcome.body)
    console.rule()


def _print_question(question: Question) -> None:
    answer = question.answer
    print_line("task")
    _print_text(question.rendered.task)
    if question.correction is not None:
        print_line("correction  the problem of the previous reply, as sent to Claude")
        _print_text(question.correction.problem)
    if answer is None:
        print_line("reply       none")
        return
    if isinstance(answer, ValidReply):
        print_line(f"reply       {question.rendered.prompt.reply}")
        _print_text(format_yaml(answer.reply.model_dump(mode="json")))
    else:
        print_line(f"reply       invalid: {answer.problem}")
        _print_text(answer.text)
    usage = answer.usage
    tokens = f"{count(usage.all_input_tokens, 'token')} in, {usage.output_tokens} out"
    print_line(f"took        {usage.took_s:.1f} s, {tokens}, {format_usd(usage.cost_usd)}")


def _print_text(text: str) -> None:
    print_lines("\n".join(f"{MARGIN}{line}" for line in text.split("\n")))

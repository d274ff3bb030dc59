"""The result of `hls prompts try`, and its output as text or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console

from hls_handler.actions import Outcome
from hls_handler.analysis import UnusableReply, Usage, ValidReply
from hls_handler.cli.event_input import Subject
from hls_handler.cli.options import print_line, print_lines
from hls_handler.events import Event
from hls_handler.routing import Ignored, Rule
from hls_handler.settings.yaml_parser import Sources, format_yaml
from hls_handler.trials.trial import Question
from hls_handler.wording import add_usd, count, format_usd

SYSTEM_LINES = 8
"""Number of lines of the system message that are printed without --full."""

MARGIN = "│ "
"""Prefix of each line of a prompt, reply or comment, so that it cannot be mistaken for output of the command."""


@dataclass(frozen=True, slots=True)
class TryResult:
    """Result of `hls prompts try`: the routing, the end, the questions to Claude, and what would be done."""

    event: Event
    routed: Rule | Ignored  # the decision of the service, without --prompt
    state: str  # "done", "ignored", "superseded" or "failed"
    reason: str
    assume_open: bool = False  # True: a closed or locked issue or pull request is treated as if it were open
    rule: Rule | None = None  # the rule by which the event was run; None: it was not run
    questions: tuple[Question, ...] = ()
    outcomes: tuple[Outcome, ...] = ()

    @property
    def is_done(self) -> bool:
        """True if no step failed, and the event was processed."""
        return self.state == "done"


def print_result(
    subject: Subject, tried: TryResult, notes: Sequence[str], *, sources: Sources, full: bool, canned: bool
) -> None:
    """Print the result as text. `notes` are sentences that say which data of the service's database was not used.

    With `full`, prints the whole system message. With `canned`, prints that nothing was paid.
    """
    console = Console(highlight=False, emoji=False, markup=False)
    print_line(f"event       {subject.key} of {_conversation_name(tried)} ({subject.origin})")
    for line in [*_describe_routing(tried, sources), *(f"note        {note}" for note in notes)]:
        print_line(line)
    for question in tried.questions:
        repeated = ", second attempt" if question.correction else ""
        console.rule(f"{question.rendered.prompt.id}, {question.model}{repeated}", align="left")
        _show_question(question, full=full)
    if tried.outcomes:
        console.rule("changes on GitHub (not made)", align="left")
    for outcome in tried.outcomes:
        print_line(f"{outcome.action:<11} {outcome.detail}")
        if outcome.body is not None:
            _show_text(outcome.body)
    console.rule()
    print_line(f"{tried.state:<11} {tried.reason}")
    print_line(f"cost        {_describe_cost(tried, canned=canned)}")


def _conversation_name(tried: TryResult) -> str:
    conversation = tried.event.conversation
    return tried.event.repository.full_name + (f"#{conversation.number}" if conversation else "")


def _describe_routing(tried: TryResult, sources: Sources) -> Iterator[str]:
    routed, rule = tried.routed, tried.rule
    if isinstance(routed, Ignored):
        yield f"ignored     ({routed.kind}) {routed.reason}"
    else:
        yield f"rule        {routed.why(sources)}"
    if rule is not None and _ran_only_by_option(tried):
        yield f"prompt      {rule.prompt} ({rule.file}), chosen with --prompt"
    if tried.assume_open and is_closed_or_locked(tried.event):
        yield "note        the issue or pull request is closed or locked; it is treated as if it were open"


def _show_question(question: Question, *, full: bool) -> None:
    system = question.rendered.system.split("\n")
    cut = not full and len(system) > SYSTEM_LINES
    print_line("system" + (f"      the first {SYSTEM_LINES} of {len(system)} lines; --full prints all" if cut else ""))
    _show_text("\n".join(system[:SYSTEM_LINES] if cut else system))
    print_line("task")
    _show_text(question.rendered.task)
    if question.correction is not None:
        print_line("correction  the problem of the previous reply, as sent to Claude")
        _show_text(question.correction.problem)
    answer = question.answer
    if answer is None:
        print_line("reply       none")
        return
    if isinstance(answer, ValidReply):
        print_line(f"reply       {answer.reply_type}")
        _show_text(format_yaml(answer.reply.model_dump(mode="json")))
    else:
        print_line(f"reply       invalid: {answer.problem}")
        if answer.text:
            _show_text(answer.text)
    print_line(f"took        {answer.usage.took_s:.1f} s, {format_usages([answer.usage])}")


def _show_text(text: str) -> None:
    print_lines("\n".join(f"{MARGIN}{line}" for line in text.split("\n")))


def to_dict(subject: Subject, tried: TryResult, notes: Sequence[str], *, claude: str) -> dict[str, object]:
    """Return the output of --json, in which no text is shortened. `claude` is "real" or "sandbox"."""
    routed, rule = tried.routed, tried.rule
    return {
        "event": subject.key,
        "thread": _conversation_name(tried),
        "facts": "github" if subject.live else "sandbox",
        "claude": claude,
        "ignored": {"kind": routed.kind, "reason": routed.reason} if isinstance(routed, Ignored) else None,
        "prompt": rule.prompt if rule else None,
        "named_by_option": _ran_only_by_option(tried),
        "notes": list(notes),
        "questions": [_question_to_dict(question) for question in tried.questions],
        "outcomes": [
            {key: value for key, value in asdict(outcome).items() if key != "url"} for outcome in tried.outcomes
        ],
        "end": {"state": tried.state, "reason": tried.reason},
        "cost_usd": add_usd(usage.cost_usd for usage in _usages(tried)),
    }


def _question_to_dict(question: Question) -> dict[str, object]:
    answer = question.answer
    usage = answer.usage if answer else None
    return {
        "prompt_id": question.rendered.prompt.id,
        "model": question.model,
        "system": question.rendered.system,
        "task": question.rendered.task,
        "correction": question.correction.problem if question.correction else None,
        "reply_type": question.rendered.prompt.reply,
        "reply": answer.reply.model_dump(mode="json") if isinstance(answer, ValidReply) else None,
        "unusable": {"why": answer.why, "problem": answer.problem} if isinstance(answer, UnusableReply) else None,
        "input_tokens": _input_tokens(usage) if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cost_usd": usage.cost_usd if usage else None,
        "took_s": usage.took_s if usage else None,
    }


def _ran_only_by_option(tried: TryResult) -> bool:
    return tried.rule is not None and not (isinstance(tried.routed, Rule) and tried.routed.prompt == tried.rule.prompt)


def is_closed_or_locked(event: Event) -> bool:
    conversation = event.conversation
    return conversation is not None and (conversation.state == "closed" or conversation.locked)


def _usages(tried: TryResult) -> list[Usage]:
    return [question.answer.usage for question in tried.questions if question.answer is not None]


def _describe_cost(tried: TryResult, *, canned: bool) -> str:
    if not tried.questions:
        return "none, because Claude was not asked"
    usages = _usages(tried)
    text = f"{count(len(usages), 'answer')}, {format_usages(usages)}"
    if len(usages) < len(tried.questions):
        text += "; the cost of the unanswered question, if any, is unknown"
    return f"{text}; these were canned answers of the sandbox: nothing was paid" if canned else text


def format_usages(usages: Sequence[Usage]) -> str:
    """Return "1500 tokens in, 300 out, 0.000600 USD". If a cost is unknown, the text ends with "unknown cost"."""
    cost = add_usd(usage.cost_usd for usage in usages)
    shown = "unknown cost" if cost is None else format_usd(cost)
    tokens_in = count(sum(map(_input_tokens, usages)), "token")
    return f"{tokens_in} in, {sum(usage.output_tokens for usage in usages)} out, {shown}"


def _input_tokens(usage: Usage) -> int:
    return usage.input_tokens + usage.cache_write_tokens + usage.cache_read_tokens

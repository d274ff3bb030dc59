"""What a try came to, for a terminal and for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console

from hls_handler.actions import Outcome
from hls_handler.analysis import Answered, Unusable, Usage
from hls_handler.cli.say import say, say_lines
from hls_handler.cli.subjects import Subject, with_remedy
from hls_handler.cli.trying import Question, Tried
from hls_handler.errors import Overtaken, Retryable, Wait
from hls_handler.routing import Ignored, Rule
from hls_handler.settings.model import Sources
from hls_handler.work.pipeline import Ended

SYSTEM_LINES = 8
"""How much of the system message is shown: it is the same for every event."""

MARGIN = "│ "
"""Before each line of somebody else's text, so that none can be taken for one of ours."""

WITH_PROMPT = "; --prompt NAME tries it all the same"


# --- for a terminal --------------------------------------------------------------------------------------------------


def show(subject: Subject, tried: Tried, notes: Sequence[str], *, sources: Sources, full: bool, canned: bool) -> None:
    """`notes` are sentences about what could not be taken into account; `canned`: the sandbox answered."""
    console = Console(highlight=False, emoji=False, markup=False)
    say(f"event       {subject.key} of {_thread(tried)} ({subject.origin})")
    for line in [*_decision(tried, sources), *(f"note        {note}" for note in notes)]:
        say(line)
    for question in tried.questions:
        again = ", asked again" if question.correction else ""
        console.rule(f"{question.rendered.prompt.id}, {question.model}{again}", align="left")
        _show_question(question, full=full)
    if tried.outcomes:
        console.rule("on GitHub, if it were no try", align="left")
    for outcome in tried.outcomes:
        _show_outcome(outcome)
    console.rule()
    say(f"{_ended(tried):<11} {_reason(tried)}")
    say(f"cost        {_paid(tried, canned=canned)}")


def _thread(tried: Tried) -> str:
    """ "octo/widgets#7", or the repository where there is no thread."""
    thread = tried.event.thread
    return tried.event.repository.full_name + (f"#{thread.number}" if thread else "")


def _decision(tried: Tried, sources: Sources) -> Iterator[str]:
    verdict, by = tried.verdict, tried.by
    if isinstance(verdict, Ignored):
        yield f"ignored     ({verdict.kind}) {verdict.reason}"
    else:
        yield f"rule        {verdict.why(sources)}"
    if by is not None and _named_by_option(tried):
        yield f"prompt      {by.prompt} ({by.file}), as --prompt says"
    if tried.as_if_open and _is_shut(tried):
        yield "note        the thread is closed or locked, and is tried as if it were neither"


def _show_question(question: Question, *, full: bool) -> None:
    system = question.rendered.system.split("\n")
    cut = not full and len(system) > SYSTEM_LINES
    say("system" + (f"      the first {SYSTEM_LINES} of {len(system)} lines; --full prints all" if cut else ""))
    _show_text("\n".join(system[:SYSTEM_LINES] if cut else system))
    say("task")
    _show_text(question.rendered.task)
    if question.correction is not None:
        say("correction  what Claude was told of its last reply")
        _show_text(question.correction.problem)
    match question.answer:
        case Answered() as answer:
            say(f"reply       {answer.reply_type}")
            _show_text("\n".join(_lines(answer.reply.model_dump(mode="json"))))
            say(f"took        {answer.usage.took_s:.1f} s, {_sum([answer.usage])}")
        case Unusable() as answer:
            say(f"reply       cannot be used: {answer.problem}")
            if answer.text:
                _show_text(answer.text)
            say(f"took        {answer.usage.took_s:.1f} s, {_sum([answer.usage])}")
        case None:
            say("reply       none came")


def _show_outcome(outcome: Outcome) -> None:
    say(f"{outcome.action:<11} {outcome.detail}")
    if outcome.body is not None:
        _show_text(outcome.body)


def _show_text(text: str) -> None:
    say_lines("\n".join(f"{MARGIN}{line}" for line in text.split("\n")))


def _lines(value: object, indent: str = "") -> Iterator[str]:
    """A JSON value for people: "kind: bug", lists with hyphens, texts of several lines below their name."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _named(f"{indent}{key}:", part, indent)
    elif isinstance(value, list):
        for part in value:
            yield from _named(f"{indent}-", part, indent)
    else:
        yield from (f"{indent}{line}" for line in str(value).split("\n"))


def _named(name: str, value: object, indent: str) -> Iterator[str]:
    if isinstance(value, (Mapping, list)) or (isinstance(value, str) and "\n" in value):
        yield name if value else f"{name} none"
        yield from _lines(value, f"{indent}  ")
    elif isinstance(value, bool):
        yield f"{name} {'yes' if value else 'no'}"
    else:
        yield f"{name} {'none' if value is None or value == '' else value}"


# --- for machines ----------------------------------------------------------------------------------------------------


def document(subject: Subject, tried: Tried, notes: Sequence[str], *, claude: str) -> dict[str, object]:
    """All of it as JSON; texts are whole."""
    verdict, by = tried.verdict, tried.by
    return {
        "event": subject.key,
        "thread": _thread(tried),
        "facts": "github" if subject.live else "sandbox",
        "claude": claude,
        "ignored": {"kind": verdict.kind, "reason": verdict.reason} if isinstance(verdict, Ignored) else None,
        "prompt": by.prompt if by else None,
        "named_by_option": _named_by_option(tried),
        "notes": list(notes),
        "questions": [_question(question) for question in tried.questions],
        "outcomes": [_outcome(outcome) for outcome in tried.outcomes],
        "end": {"state": _ended(tried), "reason": _reason(tried)},
        "cost_usd": _cost(_usages(tried)),
    }


def _question(question: Question) -> dict[str, object]:
    answer = question.answer
    usage = answer.usage if answer else None
    return {
        "prompt_id": question.rendered.prompt.id,
        "model": question.model,
        "system": question.rendered.system,
        "task": question.rendered.task,
        "correction": question.correction.problem if question.correction else None,
        "reply_type": question.rendered.prompt.reply,
        "reply": answer.reply.model_dump(mode="json") if isinstance(answer, Answered) else None,
        "unusable": {"why": answer.why, "problem": answer.problem} if isinstance(answer, Unusable) else None,
        "input_tokens": _input(usage) if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cost_usd": usage.cost_usd if usage else None,
        "took_s": usage.took_s if usage else None,
    }


def _outcome(outcome: Outcome) -> dict[str, object]:
    return {
        "action": outcome.action,
        "kind": outcome.kind,
        "detail": outcome.detail,
        "added": list(outcome.added),
        "removed": list(outcome.removed),
        "comment_id": outcome.comment_id,
        "body": outcome.body,
    }


# --- for both --------------------------------------------------------------------------------------------------------


def _named_by_option(tried: Tried) -> bool:
    """Whether only `--prompt` made it this prompt."""
    return tried.by is not None and not (isinstance(tried.verdict, Rule) and tried.verdict.prompt == tried.by.prompt)


def _ended(tried: Tried) -> str:
    match tried.end:
        case None:
            return "ignored"
        case Ended():
            return tried.end.state
        case Overtaken():
            return "superseded"
        case _:
            return "failed"


def _reason(tried: Tried) -> str:
    end = tried.end
    match end:
        case None:
            assert isinstance(tried.verdict, Ignored)
            return f"the service would leave it alone, as said above{_hint(tried)}"
        case Ended():
            return end.reason
        case Retryable() | Wait():
            return f"{with_remedy(end)}; the service would try again"
        case _:
            return str(end) + (WITH_PROMPT if _is_shut(tried) and not tried.as_if_open else "")


def _hint(tried: Tried) -> str:
    """How to try it all the same, where that is possible: people who ask to be left alone are."""
    asked = isinstance(tried.verdict, Ignored) and tried.verdict.kind == "asked to skip"
    return "" if asked else WITH_PROMPT


def _is_shut(tried: Tried) -> bool:
    thread = tried.event.thread
    return thread is not None and (thread.state == "closed" or thread.locked)


def _usages(tried: Tried) -> list[Usage]:
    return [question.answer.usage for question in tried.questions if question.answer is not None]


def _paid(tried: Tried, *, canned: bool) -> str:
    if not tried.questions:
        return "none, since Claude was not asked"
    usages = _usages(tried)
    told = f"{len(usages)} {'answer' if len(usages) == 1 else 'answers'}, {_sum(usages)}"
    if len(usages) < len(tried.questions):
        told += "; what the question without an answer cost, if anything, is not known"
    return f"{told}; canned answers of the sandbox: nothing was paid" if canned else told


def _sum(usages: Sequence[Usage]) -> str:
    cost = _cost(usages)
    shown = "unknown cost" if cost is None else f"{cost:.6f} USD"
    return f"{sum(map(_input, usages))} tokens in, {sum(usage.output_tokens for usage in usages)} out, {shown}"


def _input(usage: Usage) -> int:
    return usage.input_tokens + usage.cache_write_tokens + usage.cache_read_tokens


def _cost(usages: Sequence[Usage]) -> float | None:
    """None where the price of one of them is not known."""
    costs = [usage.cost_usd for usage in usages]
    return None if None in costs else sum(cost for cost in costs if cost is not None)

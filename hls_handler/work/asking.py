"""Calls to Claude: render the prompt, wait for a slot, call, store usage and reply; repeat once if it is invalid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from hls_handler.analysis import Analysis, Reply, UnusableReply, ValidReply
from hls_handler.deliveries import FIRST_SHADOW_STEP
from hls_handler.errors import DependencyDown, Permanent, PromptError, Retryable, StepFailed
from hls_handler.history.calls import UNAVAILABLE
from hls_handler.prompting.render import RenderedPrompt, render, render_comment, render_footer
from hls_handler.prompting.reply_fields import complete_static_reply
from hls_handler.work.job import Job
from hls_handler.work.memory import OMITTED, UNUSABLE, decode_reply, encode_reply

PROMPT_SECRET = "prompt-delimiters"  # noqa: S105 (the name of a secret in the store, not a secret)


def analyse(
    job: Job,
    variables: Mapping[str, object],
    comment_variables: Callable[[Reply], Mapping[str, object]],
    *,
    shadow: str | None = None,
) -> Analysis:
    """Run the rule's prompt and the prompts that its `then` leads to, and render the comment of the last reply.

    `comment_variables` returns the variables that only comment templates have, from the last reply. With `shadow`, runs
    that prompt instead; its checkpoints have indexes from `FIRST_SHADOW_STEP`, and its errors do not change `/health`.
    Raises `Postponed`, `LeaseLost` or a `StepFailed`.
    """
    library, store = job.now.library, job.tools.store
    answers: list[ValidReply] = []
    name: str | None = shadow or job.rule.prompt
    while name is not None:
        index = len(answers) + (FIRST_SHADOW_STEP if shadow else 0)
        prompt = library.prompts[name]
        step = job.steps.get(("ask", index))
        answered = decode_reply(step, reply_type=prompt.reply, model=prompt.reply_model)
        is_recalled = answered is not None
        if answered is None:
            answered = _ask(job, name, variables, index)
        else:
            store.calls.save_analysis(job.lease, index=index, reply=answered)
        answers.append(answered)
        variables = {**variables, "analysis": answered.reply}
        last, name = name, library.find_next_prompt(name, answered.reply)
    if is_recalled:  # no call has set it: before the retry, the prompts or settings may have led to a further call
        store.queue.set_status(job.lease, analysis="done", analysis_error=None)
    return _with_comment(job, last, tuple(answers), {**variables, **comment_variables(answers[-1].reply)})


def analyse_static_reply(
    job: Job,
    reply: Reply,
    variables: Mapping[str, object],
    comment_variables: Callable[[Reply], Mapping[str, object]],
) -> Analysis:
    """Return an analysis without a call to Claude: only the comment template uses the static `reply`."""
    job.tools.store.queue.set_status(job.lease, analysis="done", analysis_error=None)
    reply = complete_static_reply(reply, job.now.library.prompts[job.rule.prompt].reply_model)
    return _with_comment(job, job.rule.prompt, (), {**variables, "analysis": reply, **comment_variables(reply)})


def _with_comment(job: Job, prompt: str, answers: tuple[ValidReply, ...], variables: Mapping[str, object]) -> Analysis:
    library, key = job.now.library, job.tools.store.database.secret(PROMPT_SECRET)
    with _template_errors_as_retryable():
        comment = render_comment(library, prompt, variables, key=key)
        footer = render_footer(library, prompt, variables, key=key) if job.handler.has_sections else ""
        return Analysis(answers, comment, footer)


def _ask(job: Job, name: str, variables: Mapping[str, object], index: int) -> ValidReply:
    with _template_errors_as_retryable():
        rendered = render(job.now.library, name, variables, key=job.tools.store.database.secret(PROMPT_SECRET))
    if rendered.missing:
        job.note(OMITTED, index + 1, _describe_truncation(rendered))
    first = UNUSABLE.decode(job.steps.get(("unusable", index)))
    if first is None:
        answer = _call(job, rendered, index, correction=None)
        if isinstance(answer, ValidReply):
            return answer
        if answer.why != "invalid":
            raise _unusable(job, rendered, index, answer)
        first = answer
    answer = _call(job, rendered, index, correction=first)
    if isinstance(answer, ValidReply):
        return answer
    job.tools.store.checkpoints.delete(job.lease, "unusable")  # a later retry by hand begins anew
    raise _unusable(job, rendered, index, answer)


def _describe_truncation(rendered: RenderedPrompt) -> str:
    """ "1 text was cut by 49,536 characters (issues/analyze@3f9c2a)"."""
    count = len(rendered.missing)
    texts = "1 text was" if count == 1 else f"{count} texts were"
    return f"{texts} cut by {sum(rendered.missing):,} characters ({rendered.prompt.id})"


@contextmanager
def _template_errors_as_retryable() -> Iterator[None]:
    """Turn a `PromptError` into a `Retryable`: a later attempt succeeds once the template is fixed."""
    try:
        yield
    except PromptError as exc:
        raise Retryable(str(exc)) from exc


def _call(
    job: Job, rendered: RenderedPrompt, index: int, *, correction: UnusableReply | None
) -> ValidReply | UnusableReply:
    """Make one rate-limited call and store its usage and reply. Returns the reply as a retry would read it."""
    store, claude = job.tools.store, job.now.settings.claude
    begin = partial(
        store.calls.begin,
        job.lease,
        index=index,
        prompt_id=rendered.prompt.id,
        model=job.tools.claude.model_for(rendered),
        sender=job.event.sender.login,
        requests_per_second=claude.requests_per_second,
        calls_per_hour=claude.calls_per_hour,
    )
    call = job.wait_in_place(lambda: begin(changes=job.take_pending()))
    job.tools.leases.require(job.lease)  # do not pay for a reply that another worker would discard
    started_at = job.tools.health.moment()
    try:
        answer = job.tools.claude.ask(rendered, correction=correction)
    except StepFailed as exc:
        outcome = UNAVAILABLE if isinstance(exc, DependencyDown) and not exc.may_have_succeeded else "failed"
        store.calls.end(job.lease, call, outcome=outcome, usage=None, error=str(exc))
        if isinstance(exc, Permanent):
            _report_problem(job, index, str(exc), "do what the message says; the next good reply ends this")
        raise
    if isinstance(answer, ValidReply):
        job.tools.health.ok("claude", begun_at=started_at)
        checkpoint = encode_reply(answer, index=index)
        prompt = rendered.prompt
        recalled = decode_reply(checkpoint, reply_type=prompt.reply, model=prompt.reply_model)
        assert recalled is not None
        store.calls.end(
            job.lease,
            call,
            outcome="ok",
            usage=answer.usage,
            error=None,
            changes=[*job.take_pending(), checkpoint],
            reply=recalled,
            is_last=_is_last(job, prompt.name, recalled.reply),
        )
        return recalled
    step = UNUSABLE.encode(answer, index=index, took_s=answer.usage.took_s)
    changes = [step] if correction is None and answer.why == "invalid" else []
    store.calls.end(job.lease, call, outcome=answer.why, usage=answer.usage, error=answer.problem, changes=changes)
    unusable = UNUSABLE.decode(step)  # redacted, because the correction shows it to Claude again
    assert unusable is not None
    return unusable


def _is_last(job: Job, prompt: str, reply: Reply) -> bool:
    """Return whether no prompt follows; False if a `then` condition fails, which raises after the reply is stored."""
    try:
        return job.now.library.find_next_prompt(prompt, reply) is None
    except PromptError:
        return False


def _unusable(job: Job, rendered: RenderedPrompt, index: int, answer: UnusableReply) -> Permanent:
    """Return the error that ends the delivery, and report it to `/health` until the next valid reply."""
    file = job.now.library.file(rendered.prompt.name)
    advice = {
        "truncated": f"raise max_tokens in {file} or claude.max_tokens, then run it again",
        "refused": "nothing is posted; read the thread yourself",
        "stopped": f"shorten what {file} sends, then run it again",
        "invalid": f"check what {file} asks for, then run it again",
    }[answer.why]
    said = "replies" if answer.why == "invalid" else "reply"
    times = ", twice; last" if answer.why == "invalid" else ""
    problem = f"Claude's {said} to {rendered.prompt.id} cannot be used{times}: {answer.problem}"
    _report_problem(job, index, problem, advice)
    return Permanent(f"{problem}; {advice}")


def _report_problem(job: Job, index: int, problem: str, remedy: str) -> None:
    """Report a problem of Claude to `/health`, except for a shadow: its result states the error."""
    if index < FIRST_SHADOW_STEP:
        job.tools.health.report_problem("claude", problem, remedy)

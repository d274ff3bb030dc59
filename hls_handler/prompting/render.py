"""From facts to what Claude is asked, and from its reply to what GitHub shows: pure, and safe from strangers' text.

The order matters: admit (texts become tokens), render (templates see tokens), settle (tokens become texts, delimited).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from jinja2 import Template, TemplateNotFound
from jinja2.runtime import Context

from hls_handler.analysis import Reply
from hls_handler.prompting.effort import MAX_CHARACTERS, TooLongError
from hls_handler.prompting.environment import AUTHOR_ERRORS, collect, place_of
from hls_handler.prompting.folder import BASE, SUFFIX
from hls_handler.prompting.hints import WHAT_TEXTS_CAN
from hls_handler.prompting.problems import BrokenTemplateError, Problem
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.prompting.variables import RuleView, marked
from hls_handler.untrusted.cleaning import for_prompt
from hls_handler.untrusted.exchange import Exchange, Own
from hls_handler.untrusted.markdown import for_comment
from hls_handler.untrusted.stranger import Stranger

__all__ = ["Rendered", "RuleView", "render", "render_comment", "render_footer"]

SYSTEM, TASK = "system", "task"
FOOTER = "_footer.md.j2"
NO_TEXTS = (
    "text from an event stands in the system block, which is the same for all events; move it into the task block"
)


@dataclass(frozen=True, slots=True)
class Rendered:
    """What Claude is asked, all but the model."""

    prompt: Prompt
    system: str  # equal for all events: cached
    task: str
    schema: dict[str, object]  # of the reply, as pydantic gives it
    missing: tuple[int, ...] = ()  # of each text that was cut, how many characters


def render(library: Library, name: str, variables: Mapping[str, object], *, key: bytes) -> Rendered:
    """Render a prompt. `variables` are typed values; `key` makes the delimiters unguessable.

    Raises `PromptError` with file and line of the template that went wrong.
    """
    prompt = library.prompts[name]
    exchange = Exchange(key=key, show=for_prompt)
    with_tokens = _admit(exchange, variables)
    try:
        system, task = _messages(library, f"{name}{SUFFIX}", with_tokens)
        settled = _settled(exchange, task, prompt.path)
        return Rendered(prompt, system, settled, _schema(prompt.reply_model), exchange.missing())
    except AUTHOR_ERRORS as exc:
        raise broken(exc, prompt.path) from exc


@cache
def _schema(model: type[Reply]) -> dict[str, object]:
    """As pydantic gives it; nobody changes it."""
    return model.model_json_schema()


def render_comment(library: Library, name: str, variables: Mapping[str, object], *, key: bytes) -> str | None:
    """Render the comment of a prompt as scrubbed Markdown; None if it has no comment template.

    `variables` hold the reply as `analysis`. Raises `PromptError` as `render` does.
    """
    template_name = library.comments.get(name)
    if template_name is None:
        return None
    template = library.comment_environment.get_template(template_name)
    exchange = Exchange(key=key, show=for_comment)
    prompt_id = Own(library.prompts[name].id)
    with_tokens = {**_admit(exchange, variables), "prompt_id": prompt_id}
    try:
        text = collect(template.root_render_func(template.new_context(with_tokens)))
        return _settled(exchange, text.strip(), template.filename or template_name)
    except AUTHOR_ERRORS as exc:
        raise broken(exc, template.filename or template_name) from exc


def render_footer(library: Library, name: str, variables: Mapping[str, object], *, key: bytes) -> str:
    """The footer by itself, for a comment that several sources feed; "" without one.

    `variables` are those of the comment. The commit is left out: each source has its own. Raises as `render` does.
    """
    try:
        template = library.comment_environment.get_template(FOOTER)
    except TemplateNotFound:
        return ""
    exchange = Exchange(key=key, show=for_comment)
    shared = {variable: value for variable, value in variables.items() if variable != "commit"}
    with_tokens = {**_admit(exchange, shared), "prompt_id": Own(library.prompts[name].id)}
    try:
        text = collect(template.root_render_func(template.new_context(with_tokens)))
        return _settled(exchange, text.strip(), template.filename or FOOTER)
    except AUTHOR_ERRORS as exc:
        raise broken(exc, template.filename or FOOTER) from exc


def broken(error: Exception, file: str) -> BrokenTemplateError:
    """The author's error that an exception stands for; `file` is named where no template's line is known."""
    place_file, line = place_of(error) or (file, 1)
    message = str(error) or type(error).__name__
    if isinstance(error, TypeError) and Stranger.__name__ in message:
        message = f"{message.replace(Stranger.__name__, 'text from an event')}; {WHAT_TEXTS_CAN}"
    return BrokenTemplateError(Problem(place_file, line, message))


def _admit(exchange: Exchange, variables: Mapping[str, object]) -> dict[str, object]:
    return {name: exchange.admit(value) for name, value in marked(variables).items()}


def _settled(exchange: Exchange, rendered: str, file: str) -> str:
    settled = exchange.settle(rendered, template=file)
    if len(settled) > MAX_CHARACTERS:
        raise TooLongError(f"shows more than {MAX_CHARACTERS:,} characters; cut long texts with excerpt(n)")
    return settled


def _messages(library: Library, template_name: str, variables: Mapping[str, object]) -> tuple[str, str]:
    """System and task message. A template without such blocks is its task, and its system message is the base's."""
    system, task, rest = _blocks(library.environment.get_template(template_name), variables)
    if system is None:
        system, _, _ = _blocks(library.environment.get_template(BASE), variables)
    return (system or "").strip(), (rest if task is None else task).strip()


def _blocks(template: Template, variables: Mapping[str, object]) -> tuple[str | None, str | None, str]:
    """The two blocks, each for itself, and what stands outside of them.

    The template is run with both blocks silenced, which brings in those of the templates that it extends, and what it
    imports and sets outside of blocks; then each block is run in the context that this left behind.
    """
    context = template.new_context(dict(variables))
    for name in (SYSTEM, TASK):
        context.blocks.setdefault(name, []).insert(0, _silence)
    rest = collect(template.root_render_func(context))
    for name in (SYSTEM, TASK):
        context.blocks[name].remove(_silence)
    system = _block(context.blocks[SYSTEM], context, no_texts=NO_TEXTS)
    return system, _block(context.blocks[TASK], context, no_texts=None), rest


def _block(chain: list[Callable[[Context], Iterator[str]]], context: Context, *, no_texts: str | None) -> str | None:
    return collect(chain[0](context), no_texts=no_texts) if chain else None


def _silence(context: Context) -> Iterator[str]:  # noqa: ARG001 (a block's shape)
    yield from ()

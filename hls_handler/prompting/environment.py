"""The Jinja environment of a prompt library, its filters and render limits, and checks of
references between templates.

The environment is sandboxed. Use of an undefined name is an error. Filters accept untrusted text
and str.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from traceback import walk_tb
from typing import Any, NamedTuple

from jinja2 import (
    FunctionLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
    nodes,
)
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hls_handler.prompting.front_matter import BrokenTemplateError, Problem, suggest_name
from hls_handler.prompting.source_files import SourceFile
from hls_handler.untrusted.cleaning import (
    CodeText,
    clean_and_redact,
    escape_unprintable,
    format_for_prompt,
    truncate,
)
from hls_handler.untrusted.markdown import sanitize_fenced, sanitize_inline
from hls_handler.untrusted.placeholders import WrappedRecord, public_fields, type_of
from hls_handler.untrusted.untrusted_text import (
    EXCERPT_ADVICE,
    PLACEHOLDER_START,
    BrokenPlaceholder,
    UntrustedText,
    contains_placeholder,
    find_broken_placeholder,
    text_of,
    with_formatter,
    with_sanitizer,
)
from hls_handler.wording import count

MAX_CHARACTERS = 4_000_000
"""Limit in characters on a block's output and on a rendered text. Patches within
`claude.input_tokens` are shorter.
"""

MAX_TEXTS = 20_000
"""Limit on the number of untrusted texts in the output of a template or block; a text shown twice
counts twice.
"""

MAX_BITS = 10_000  # of a product of whole numbers

DEADLINE_S = 20.0
"""Limit, in seconds, on the rendering of one template or block."""

AUTHOR_ERRORS = (
    TemplateError,
    BrokenPlaceholder,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    MemoryError,
)
"""Exceptions that a mistake in a template can cause."""

RAW_ADVICE = "braces that are text stand between {% raw %} and {% endraw %}"
TAG_ADVICE = "a tag is {{ value }} or {% tag %}, with and, or, not, elif; " + RAW_ADVICE
TEXT_OPERATIONS = (
    "such text can be shown, compared, measured, joined with ~, and cut with excerpt(n) or"
    " lines(a, b)"
)
BROKEN_PLACEHOLDER = f"text from an event was cut or changed; {EXCERPT_ADVICE}"


class RenderLimitError(TemplateError):
    """A template exceeded a render limit: its output is too large, or its rendering takes too
    long.
    """


class UndefinedVariable(StrictUndefined):
    """The value of an undefined variable, key or attribute. Any use raises an error, which suggests
    a similar name.
    """

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name = str(self._undefined_name)
        owner = self._undefined_obj
        match owner:
            case WrappedRecord():
                kind = type_of(owner)
                return f"{kind.__name__} has no {name!r}; {suggest_name(name, public_fields(kind))}"
            case UntrustedText():
                return f"text from an event has no {name!r}; {TEXT_OPERATIONS}"
            case list() | tuple():
                return f"a list has no {name!r}; loop over it, or use map(attribute={name!r})"
            case Mapping():
                keys = (key for key in owner if isinstance(key, str))
                return f"there is no {name!r} here; {suggest_name(name, keys)}"
        return super()._undefined_message


TOO_SLOW = "the template takes too long to render; limit its loops, as in labels[:20]"

_rendering = threading.local()
"""`until`: the time on `time.monotonic` at which the rendering in this thread is ended."""


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """A Jinja environment for one prompt library. It gets templates from `sources`, and reads no
    files.

    Each iteration of a loop and each call of a macro checks the deadline, so a loop without output
    ends, too. `**` is an error, and the size of products is limited.
    """

    intercepted_binops = frozenset({"*", "**"})

    def __init__(
        self, sources: Mapping[str, SourceFile], filters: Mapping[str, Callable[..., object]]
    ) -> None:
        loaded = {name: (source.template, source.file, None) for name, source in sources.items()}
        super().__init__(
            loader=FunctionLoader(loaded.get),
            undefined=UndefinedVariable,
            autoescape=False,
            auto_reload=False,
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        del self.globals["lipsum"]
        self.filters |= dict(filters)

    def check_deadline(self) -> bool:
        """Return True. Raise `RenderLimitError` if the rendering in this thread takes longer than
        `DEADLINE_S`.
        """
        if time.monotonic() > getattr(_rendering, "until", float("inf")):
            raise RenderLimitError(TOO_SLOW)
        return True

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Numbers and bytes have no attributes: `from_bytes` and `encode` would make values without
        a limit.
        """
        if isinstance(obj, int | float | bytes) or (isinstance(obj, str) and attr == "encode"):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise RenderLimitError("** is not available in templates")
        for operand, other in ((left, right), (right, left)):
            if not isinstance(other, int):
                continue
            if isinstance(operand, str | list | tuple) and len(operand) * other > MAX_CHARACTERS:
                message = f"a text is repeated to more than {MAX_CHARACTERS:,} characters"
                raise RenderLimitError(message)
            if isinstance(operand, int) and operand.bit_length() + other.bit_length() > MAX_BITS:
                raise RenderLimitError(f"a product has more than {MAX_BITS:,} bits")
        return super().call_binop(context, operator, left, right)

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        check = nodes.Call(nodes.EnvironmentAttribute("check_deadline"), [], [], None, None)
        kinds = (nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block)
        for block in (node for node in source.find_all(kinds) if isinstance(node, kinds)):
            block.body.insert(0, nodes.ExprStmt(check, lineno=block.lineno))
            if isinstance(block, nodes.For) and block.test is not None:
                block.test = nodes.And(check, block.test, lineno=block.lineno)
        return super()._generate(source, *args, **kwargs)


def join_chunks(
    chunks: Iterator[str],
    *,
    no_texts: str | None = None,
    deadline_s: float = DEADLINE_S,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Join the chunks that a template or block outputs. Raise `RenderLimitError` if they exceed a
    render limit.

    The limits are checked at each chunk. If `no_texts` is set, untrusted text in the output raises
    a `TemplateError` with the message `no_texts`. Errors are thrown into the generator, so that
    their traceback has the template's line.
    """
    assert isinstance(chunks, Generator)  # all compiled templates and blocks are generators
    until = clock() + deadline_s
    _rendering.until = time.monotonic() + deadline_s
    collected: list[str] = []
    characters = 0
    texts = 0
    for chunk in chunks:
        collected.append(chunk)
        characters += len(chunk)
        if characters > MAX_CHARACTERS:
            message = f"the template outputs more than {MAX_CHARACTERS:,} characters"
            chunks.throw(RenderLimitError(message))
        if clock() > until:
            chunks.throw(RenderLimitError(TOO_SLOW))
        if contains_placeholder(chunk):
            texts += chunk.count(PLACEHOLDER_START)
            if no_texts is not None:
                chunks.throw(TemplateError(no_texts))
            if find_broken_placeholder(chunk) is not None:
                chunks.throw(TemplateError(BROKEN_PLACEHOLDER))
            if texts > MAX_TEXTS:
                message = f"the template shows more than {MAX_TEXTS:,} texts from an event"
                chunks.throw(RenderLimitError(message))
    return "".join(collected)


class TemplatePlace(NamedTuple):
    file: str
    line: int


def place_of(error: BaseException) -> TemplatePlace | None:
    """Return the innermost template in the traceback of `error`; None if it contains none."""
    place = None
    if isinstance(error, TemplateSyntaxError):
        place = TemplatePlace(error.filename or "", error.lineno)
    for frame, line in walk_tb(error.__traceback__):
        template = frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            place = TemplatePlace(template.filename or "", template.get_corresponding_lineno(line))
    return place


def excerpt(value: object, n: int) -> object:
    """Filter: return the first `n` characters of a text. A longer text ends with the number of cut
    characters.
    """
    if isinstance(value, UntrustedText):
        return value.excerpt(n)
    return truncate(str(value), n)


def lines(value: object, a: int, b: int) -> object:
    """Filter: return lines `a` to `b` of a text, both included, counted from 1."""
    if isinstance(value, UntrustedText):
        return value.lines(a, b)
    return "\n".join(str(value).split("\n")[max(a, 1) - 1 : max(b, 0)])


def counted(number: int, noun: str, plural: str = "") -> str:
    """Filter: return a number with its noun, as `count` does."""
    return count(int(number), noun, plural)


def code(value: object, *title: object) -> object:
    """Filter for prompts: show a patch or a file in full, below a line with `title`, such as its
    path. HTML comments are kept, so that line numbers stay correct.
    """
    return with_formatter(value, CodeFormatter(" ".join(map(_to_title, title))))


def _to_title(part: object) -> str:
    if isinstance(part, UntrustedText):
        return escape_unprintable(clean_and_redact(text_of(part)))
    if contains_placeholder(str(part)):
        raise BrokenPlaceholder(["code() gets a joined text; give it each text on its own"])
    return str(part)


@dataclass(frozen=True, slots=True)
class CodeFormatter:
    """A `TextFormatter` for code in prompts."""

    title: str = ""  # cleaned and redacted

    def __call__(self, text: str, nonce: str, /) -> str:
        return format_for_prompt(CodeText(text), nonce, limit=MAX_CHARACTERS, title=self.title)


def inline(value: object) -> object:
    """Filter for comments: show a text on one line, without delimiters, for table cells, list items
    and headings.
    """
    return with_sanitizer(value, sanitize_inline)


def fenced(value: object) -> object:
    """Filter for comments: show a text as a code block that no line of it closes."""
    return with_sanitizer(value, sanitize_fenced)


Filters = Mapping[str, Callable[..., object]]

PROMPT_FILTERS: Filters = {"excerpt": excerpt, "lines": lines, "counted": counted, "code": code}
COMMENT_FILTERS: Filters = {
    "excerpt": excerpt,
    "lines": lines,
    "counted": counted,
    "inline": inline,
    "fenced": fenced,
}
ALLOWED_ONLY_IN: Mapping[str, str] = {
    "code": "prompts",
    "inline": "comments",
    "fenced": "comments",
}
"""Filter -> kind of template that may use it. `code` adds delimiters for Claude, `inline` and
`fenced` sanitize Markdown.
"""

TemplateReference = nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport


@dataclass(frozen=True, slots=True)
class ParsedTemplates:
    environment: PromptEnvironment
    # name ("issues/analyze.j2") -> syntax tree; invalid templates are missing
    trees: Mapping[str, nodes.Template]
    files: Mapping[str, str]  # name of each template -> its path for messages
    # name -> templates that it itself extends, includes or imports
    references: Mapping[str, Collection[str]] = field(default_factory=dict)


def referenced_names(node: TemplateReference) -> tuple[str, ...]:
    """Return the names in an `extends`, `include` or `import`: ("base.j2",); () if an expression
    computes the name.
    """
    reference = node.template
    items = reference.items if isinstance(reference, nodes.Tuple | nodes.List) else [reference]
    names: list[str] = []
    for item in items:
        if not isinstance(item, nodes.Const) or not isinstance(item.value, str):
            return ()
        names.append(item.value)
    return tuple(names)


def find_used_templates(templates: ParsedTemplates, template: str) -> tuple[str, ...]:
    """Return the names of a template and of all templates that it extends, includes or imports,
    also indirectly.

    The template itself is first. Templates that do not exist are left out.
    """
    used: list[str] = []
    pending = [template]
    while pending:
        name = pending.pop(0)
        if name in templates.files and name not in used:
            used.append(name)
            pending += templates.references.get(name, ())
    return tuple(used)


def check_blocks(templates: ParsedTemplates) -> Iterator[Problem]:
    """Yield a problem for each block that Jinja ignores, because no extended template has a block
    of its name.
    """
    for name, tree in templates.trees.items():
        if tree.find(nodes.Extends) is None:
            continue
        extended_blocks: set[str] = set()
        for part in find_used_templates(templates, name):
            if part in templates.trees and part != name:
                extended_blocks.update(
                    block.name for block in templates.trees[part].find_all(nodes.Block)
                )
        blocks = [*tree.find_all(nodes.Block)]
        nested: set[nodes.Block] = set()
        for block in blocks:
            nested.update(block.find_all(nodes.Block))
        for block in blocks:
            if block.name not in extended_blocks and block not in nested:
                message = f"no template that this one extends has a block {block.name!r}"
                advice = suggest_name(block.name, extended_blocks)
                yield Problem(templates.files[name], block.lineno, f"{message}; {advice}")


def check_references(templates: ParsedTemplates) -> Iterator[Problem]:
    """Yield a problem for each extends, include or import whose template is computed, missing or
    part of a cycle.
    """
    files = templates.files
    for name, tree in templates.trees.items():
        for node in (
            node for node in tree.find_all(nodes.Stmt) if isinstance(node, TemplateReference)
        ):
            names = referenced_names(node)
            existing = [part for part in names if part in files]
            if not names:
                message = 'write the name of the other template in quotes, such as "base.j2"'
                yield Problem(files[name], node.lineno, message)
            elif not existing and not (isinstance(node, nodes.Include) and node.ignore_missing):
                message = f"there is no template {names[0]!r}; {suggest_name(names[0], files)}"
                yield Problem(files[name], node.lineno, message)
            for part in existing:
                if name in find_used_templates(templates, part):
                    message = f"the templates form a cycle: {part!r} leads back to {name!r}"
                    yield Problem(files[name], node.lineno, message)


NO_LIST = re.compile(r"'(\w+)' (?:object )?is not iterable|object of type '(\w+)' has no len\(\)")
"""Matches Python's message about a value that a template takes for a list."""

VALUE_NAMES = {"int": "a number", "float": "a number", "bool": "true or false", "NoneType": "null"}


def to_template_error(error: Exception, file: str) -> BrokenTemplateError:
    place = place_of(error) or TemplatePlace(file, 1)
    message = str(error) or type(error).__name__
    no_list = NO_LIST.search(message)
    if isinstance(error, TypeError) and UntrustedText.__name__ in message:
        message = message.replace(UntrustedText.__name__, "text from an event")
        message = f"{message}; {TEXT_OPERATIONS}"
    elif no_list is not None:
        value = VALUE_NAMES.get(no_list[1] or no_list[2], "a value without parts")
        needed = "a loop, `in`, join, length, map and the like need a list, such as issue.labels"
        message = f"found {value}; {needed}"
    return BrokenTemplateError(Problem(place.file, place.line, message))

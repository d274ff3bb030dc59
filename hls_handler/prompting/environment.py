"""Jinja as templates meet it: sandboxed, immutable, strict about names, and with a cap on what they make.

The sandbox is no resource limit: `'a' * 10**9` would be a gigabyte in one piece. So what multiplies (operators,
formats, widths, some filters and methods) is estimated before it is computed, what adds is measured when it is made,
and loops, calls and all that is made count towards one budget (see `effort`). That stops an author's slip. It is no
wall against an author who means harm: sorting or searching a long list may take seconds, and what is inside of an
object that is no list or mapping of the template's own (a namespace in a namespace) is not looked into beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from types import TracebackType
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined, Template, TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hls_handler.prompting.effort import (
    CALL,
    MAX_CHARACTERS,
    WIDEST,
    TooLongError,
    check_growth,
    check_number,
    check_size,
    counted,
    measured,
    size,
    spend,
    steps,
)
from hls_handler.prompting.folder import Source
from hls_handler.prompting.problems import nearest
from hls_handler.untrusted.tokens import ADVICE, OPEN, TornToken, contains_token, find_tear

MAX_TEXTS = 20_000
"""Of strangers, in one rendering; a text that is shown twice counts twice."""

WIDE_FORMAT = re.compile(r"%[^%a-zA-Z]*(\*|[0-9]{6,})|\{[^{}]*(\{|:[^{}]*[0-9]{6,})")
NUMBERED = frozenset({"center", "indent", "slice", "batch", "tojson", "round"})
"""Filters with numbers that stand for a width, a count or a power."""

GROWING = frozenset({"replace", "join", "wordwrap", "indent", "tojson", "urlize", "expandtabs", "translate"})
"""Filters and methods of strings that may write an argument once for each character or element of the value."""

AUTHOR_ERRORS = (
    TemplateError,
    TornToken,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    MemoryError,
)
"""What a template can raise by its author's doing."""


class Missing(StrictUndefined):
    """A name that is not there: an error that says which names are."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if isinstance(self._undefined_obj, Mapping):
            known = [key for key in self._undefined_obj if isinstance(key, str)]
            return f"there is no {self._undefined_name!r} here; {nearest(str(self._undefined_name), known)}"
        return super()._undefined_message


class Compiler(CodeGenerator):
    """Jinja's own, but for what its sandbox cannot intercept: `~` and the steps of loops."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 (as in Jinja)
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802 (as in Jinja)
        node.iter = nodes.Call(
            nodes.EnvironmentAttribute("steps", lineno=node.lineno), [node.iter], [], None, None, lineno=node.lineno
        )
        super().visit_For(node, frame)


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """The environment of one library; it knows the templates that were read, and reads no file."""

    code_generator_class = Compiler
    intercepted_binops = frozenset({"+", "*", "**", "%"})
    steps = staticmethod(steps)

    def __init__(self, sources: Mapping[str, Source], filters: Mapping[str, Callable[..., object]]) -> None:
        def load(name: str) -> tuple[str, str, None] | None:
            source = sources.get(name)
            return (source.template, source.file, None) if source is not None else None

        super().__init__(
            loader=FunctionLoader(load),
            undefined=Missing,
            autoescape=False,
            auto_reload=False,
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_checked,
        )
        del self.globals["lipsum"]
        self.filters = {name: _bounded(name, builtin) for name, builtin in self.filters.items()} | dict(filters)

    def concat(self, parts: Iterable[str]) -> str:
        pieces = list(parts)
        check_size(sum(map(len, pieces)))
        return measured("".join(pieces))

    def joined(self, parts: Iterable[object]) -> str:
        """What `~` makes."""
        return self.concat(str(_checked(part)) for part in parts)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, int) and isinstance(right, int):
            if operator == "**":
                check_number(left.bit_length() * right)
            elif operator == "*":
                check_number(left.bit_length() + right.bit_length())
        elif operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(many, str | list | tuple) and isinstance(times, int):
                    check_number(len(many) * times)
        elif operator == "%" and isinstance(left, str):
            _check_format(left, [right])
        return measured(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        @wraps(wrapped)
        def bounded(*args: Any, **kwargs: Any) -> str:
            _check_format(value.__self__, [*args, *kwargs.values()])
            return wrapped(*args, **kwargs)

        return bounded

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 (as in Jinja)
        spend(CALL)
        text = getattr(__obj, "__self__", None)
        if isinstance(text, str):  # a string's own method: ljust, zfill, expandtabs, ...
            given = [*args, *kwargs.values()]
            for argument in given:
                check_number(argument)
            if __obj.__name__ in GROWING:
                check_growth(text, given, numbers=True)
        return measured(super().call(__context, __obj, *args, **kwargs))


def _checked(value: Any) -> Any:
    """A value that is about to be written: a list may be far longer than it is."""
    if isinstance(value, list | tuple | dict):
        check_size(size(value))
    return value


def _check_format(template: str, arguments: Sequence[object]) -> None:
    if WIDE_FORMAT.search(template):
        raise TooLongError(f"the width in this format is too large or not fixed; at most {WIDEST - 1}")
    check_growth(template, arguments, numbers=False)


def _bounded(name: str, builtin: Callable[..., Any]) -> Callable[..., Any]:
    """One of Jinja's filters, with its arguments and its result looked at."""
    first = 1 if hasattr(builtin, "jinja_pass_arg") else 0  # before the value, some take the context

    @wraps(builtin)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        before, (value, *more) = args[:first], args[first:]
        given = [*more, *kwargs.values()]
        if name in NUMBERED:
            for argument in given:
                check_number(argument)
        if name in GROWING:
            value = list(steps(value)) if isinstance(value, Iterator) else value
            check_growth(value, given, numbers=True)
        elif name == "format":
            _check_format(str(value), given)
        else:
            _checked(value)
        return measured(builtin(*before, value, *more, **kwargs))

    return bounded


def collect(pieces: Iterator[str], *, no_texts: str | None = None) -> str:
    """Put a rendering together, piece by piece, so that what is too long or torn is found where it was written.

    `no_texts` says why no stranger's text may stand here; None where it may. Errors are thrown into the template, which
    is how they come to carry its line.
    """
    assert isinstance(pieces, Generator)  # as all compiled templates and blocks are
    with counted():
        return "".join(_passed(pieces, no_texts))


def _passed(pieces: Generator[str], no_texts: str | None) -> Iterator[str]:
    characters = texts = 0
    for piece in pieces:
        characters += len(piece)
        if characters > MAX_CHARACTERS:
            pieces.throw(TooLongError(f"writes more than {MAX_CHARACTERS:,} characters"))
        if contains_token(piece):
            texts += piece.count(OPEN)
            if no_texts is not None:
                pieces.throw(TemplateError(no_texts))
            if find_tear(piece) is not None:
                pieces.throw(TemplateError(TORN))
            if texts > MAX_TEXTS:
                pieces.throw(TooLongError(f"shows more than {MAX_TEXTS:,} texts from an event"))
        yield piece


TORN = f"text from an event was cut or changed; {ADVICE}"


def place_of(error: BaseException) -> tuple[str, int] | None:
    """File and line of the template that an error came from; None if it came from no template."""
    place = None
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            place = (template.filename or "", template.get_corresponding_lineno(traceback.tb_lineno))
        traceback = traceback.tb_next
    return place

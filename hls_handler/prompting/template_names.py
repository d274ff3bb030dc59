"""Checks of the names in templates and conditions, and of text that no block sends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from typing import Any

from jinja2 import TemplateSyntaxError, nodes

from hls_handler.analysis import SUFFIX
from hls_handler.prompting.environment import (
    ALLOWED_ONLY_IN,
    RAW_ADVICE,
    TAG_ADVICE,
    ParsedTemplates,
    PromptEnvironment,
    find_used_templates,
)
from hls_handler.prompting.front_matter import problem_at
from hls_handler.prompting.problems import Checked, Problem, suggest_name
from hls_handler.prompting.prompt import Condition
from hls_handler.prompting.render import TASK
from hls_handler.prompting.source_files import BASE
from hls_handler.prompting.variables import has_members, iter_alternatives
from hls_handler.settings.problems import Kind
from hls_handler.settings.yaml_parser import Sources
from hls_handler.untrusted.placeholders import public_hints


def templates_of(templates: ParsedTemplates, name: str, comment: str | None) -> tuple[str, ...]:
    """Return the names of all templates that a prompt and its comment use. The first is the
    prompt's own template.
    """
    roots = [f"{name}{SUFFIX}", BASE]
    if comment is not None:
        roots.append(comment)
    parts: dict[str, None] = {}
    for root in roots:
        parts |= dict.fromkeys(find_used_templates(templates, root))
    return tuple(parts)


def compile_condition(
    templates: ParsedTemplates, when: str, lines: Sources, reply: object
) -> Checked[Condition | None]:
    """Compile the expression `when`. The condition is None after a syntax error.

    The names in `when` are checked against the type `reply`.
    """
    location = problem_at(lines, "then.when", "")
    try:
        tree = templates.environment.parse(f"{{{{ {when} }}}}")
        compiled = templates.environment.compile_expression(when, undefined_to_none=False)
    except TemplateSyntaxError as exc:
        message = f"then.when: {exc.message}; {TAG_ADVICE}"
        return Checked(None, [replace(location, message=message)])
    templates = ParsedTemplates(
        templates.environment, {"then.when": tree}, {"then.when": location.file}
    )
    unknown_names = check_names(templates, "then.when", {"analysis": reply})
    problems = [
        replace(location, message=f"then.when: {problem.message}") for problem in unknown_names
    ]
    return Checked(Condition(compiled, location.file, location.line), problems)


_SINGLE_BRACE = re.compile(r"(?<![{$])\{ ?(\w+)\.\w+")

BRACE_ADVICE = 'write a value as {{ value }}, or this brace as {{ "{" }}'

JINJA_VARIABLES = frozenset({"self", "super", "loop", "caller", "varargs", "kwargs"})


def check_names(
    templates: ParsedTemplates, template: str, variables: Mapping[str, object]
) -> Iterator[Problem]:
    """Yield a problem for each unknown variable, attribute, filter and test in a template and in
    all that it uses.

    `variables` maps names to types: {"issue": Issue}. A name that one of the templates assigns is
    known in all of them, but not its type.
    """
    environment = templates.environment
    used = [name for name in find_used_templates(templates, template) if name in templates.trees]
    types = dict(variables)
    for name in used:
        types |= dict.fromkeys(_assigned_names(templates.trees[name]), Any)
    for name in used:
        tree = templates.trees[name]
        optional = {
            node.node.name
            for node in tree.find_all((nodes.Test, nodes.Filter))
            if isinstance(node.node, nodes.Name)
            and node.name in ("defined", "undefined", "default", "d")
        }
        names = types.keys() | environment.globals.keys() | JINJA_VARIABLES | optional
        for node in tree.find_all(nodes.Node):
            message = _find_mistake(node, environment, types, names)
            if message:
                yield Problem(templates.files[name], node.lineno, message, Kind.UNKNOWN_NAME)
        for text in tree.find_all(nodes.TemplateData):
            for match in _SINGLE_BRACE.finditer(text.data):
                if match[1] in types:
                    line = text.lineno + text.data.count("\n", 0, match.start())
                    message = f"{match[0]} is sent as text; {BRACE_ADVICE}"
                    yield Problem(templates.files[name], line, message, Kind.UNKNOWN_NAME)


def check_outside_blocks(templates: ParsedTemplates) -> Iterator[Problem]:
    """Yield a problem for each text outside of blocks in a template of which only blocks are
    rendered.
    """
    for name, tree in templates.trees.items():
        has_task = any(block.name == TASK for block in tree.find_all(nodes.Block))
        if has_task or any(isinstance(node, nodes.Extends) for node in tree.body):
            for line in _find_output(tree):
                message = (
                    "text outside of blocks is not sent; move it into a block, or remove"
                    " {% extends %} and the tags of the blocks"
                )
                yield Problem(templates.files[name], line, message)


def _find_output(node: nodes.Node) -> Iterator[int]:
    """Yield the line of each output outside of blocks, macros and `set`."""
    for child in node.iter_child_nodes():
        match child:
            case nodes.Block() | nodes.Macro() | nodes.AssignBlock():
                pass
            case nodes.TemplateData(data=text):
                if text.strip():
                    yield child.lineno + text[: -len(text.lstrip())].count("\n")
            case nodes.Include():
                yield child.lineno
            case nodes.Expr() if isinstance(node, nodes.Output):
                yield child.lineno
            case _:
                yield from _find_output(child)


def _find_mistake(
    node: nodes.Node,
    environment: PromptEnvironment,
    types: Mapping[str, object],
    names: Set[str],
) -> str:
    """Return a message about an unknown variable, attribute, filter or test; "" if it is known."""
    match node:
        case nodes.Name(name=name) if name not in names:
            return f"unknown variable {name!r} ({RAW_ADVICE}); {suggest_name(name, types)}"
        case nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=str(name))):
            owner = _find_type(node.node, types)
            if has_members(owner) and name not in public_hints(owner):
                advice = suggest_name(name, public_hints(owner))
                return f"{_write(node.node)} has no {name!r}; {advice}"
        case nodes.Test(name=name) if name not in environment.tests:
            return f"unknown test {name!r}; {suggest_name(name, environment.tests)}"
        case nodes.Filter(name=name) if name not in environment.filters:
            if name in ALLOWED_ONLY_IN:
                return f"the filter {name!r} is for {ALLOWED_ONLY_IN[name]} only"
            return f"unknown filter {name!r}; {suggest_name(name, environment.filters)}"
    return ""


def _find_type(node: nodes.Node, types: Mapping[str, object]) -> object:
    """Return the type of an expression; `Any` if it is not known."""
    hint: object = Any
    match node:
        case nodes.Name(name=name):
            hint = types.get(name, Any)
        case nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=str(name))):
            owner = _find_type(node.node, types)
            if has_members(owner):
                hint = public_hints(owner).get(name, Any)
    kinds = [*iter_alternatives(hint)]
    return kinds[0] if len(kinds) == 1 else Any


def _write(node: nodes.Node) -> str:
    """Return the text of an expression whose type is known: "issue.user"."""
    match node:
        case nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=str(name))):
            return f"{_write(node.node)}.{name}"
        case nodes.Name(name=name):
            return name
    return ""


def _assigned_names(tree: nodes.Template) -> Iterator[str]:
    for node in tree.find_all((nodes.Name, nodes.Macro, nodes.Import, nodes.FromImport)):
        match node:
            case nodes.Name(name=name) if node.ctx != "load":
                yield name
            case nodes.Macro(name=name) | nodes.Import(target=name):
                yield name
            case nodes.FromImport():
                yield from (
                    target if isinstance(target, str) else target[1] for target in node.names
                )

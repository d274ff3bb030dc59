"""References between templates (extends, include, import). Names must be literals, so that they can be checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jinja2 import Environment, nodes

from hls_handler.prompting.folder import Problem, suggest_name

Reference = nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport


@dataclass(frozen=True, slots=True)
class ParsedTemplates:
    """All templates of a library, parsed."""

    environment: Environment
    trees: Mapping[str, nodes.Template]  # by name: "issues/analyze.j2"; without templates that cannot be parsed
    files: Mapping[str, str]  # name -> path for messages, for all templates


def _find_references(tree: nodes.Template) -> Iterator[Reference]:
    return (node for node in tree.find_all(nodes.Stmt) if isinstance(node, Reference))


def referenced_names(node: Reference) -> tuple[str, ...]:
    """Return the literal names in a reference; () if the name is computed."""
    given = node.template
    if isinstance(given, nodes.Const):
        values = given.value if isinstance(given.value, list | tuple) else [given.value]
        return tuple(value for value in values if isinstance(value, str))
    if isinstance(given, nodes.Tuple | nodes.List):
        constants = [item.value for item in given.items if isinstance(item, nodes.Const)]
        return tuple(constants) if len(constants) == len(given.items) else ()
    return ()


def exported_names(tree: nodes.Template) -> frozenset[str]:
    """Return the names that an import of this template makes available: its macros and `set` variables."""
    macros = {node.name for node in tree.find_all(nodes.Macro)}
    stored = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    return frozenset(macros | stored)


def find_used_templates(templates: ParsedTemplates, template: str) -> tuple[str, ...]:
    """Return a template and all templates that it extends, includes and imports, directly or indirectly, itself first.

    Unknown names are left out.
    """
    found: list[str] = []
    pending = [template]
    while pending:
        name = pending.pop(0)
        if name in templates.files and name not in found:
            found.append(name)
            tree = templates.trees.get(name)
            if tree is not None:
                pending += [part for node in _find_references(tree) for part in referenced_names(node)]
    return tuple(found)


def check_blocks(templates: ParsedTemplates) -> Iterator[Problem]:
    """Yield blocks that no extended template defines, because Jinja ignores them without an error."""
    for name, tree in templates.trees.items():
        extended = [part for node in tree.find_all(nodes.Extends) for part in referenced_names(node)]
        if not extended:
            continue
        known = {block.name for part in extended for block in _inherited_blocks(templates, part)}
        nested = {block.name for outer in tree.find_all(nodes.Block) for block in _nested_blocks(outer)}
        for block in tree.find_all(nodes.Block):
            if block.name not in known | nested:
                message = (
                    f"no template that this one extends has a block {block.name!r}; {suggest_name(block.name, known)}"
                )
                yield Problem(templates.files[name], block.lineno, message)


def _inherited_blocks(templates: ParsedTemplates, template: str) -> Iterator[nodes.Block]:
    """Yield the blocks of a template and of all templates that it extends, directly or indirectly."""
    seen: set[str] = set()
    pending = [template]
    while pending:
        name = pending.pop()
        tree = templates.trees.get(name)
        if tree is None or name in seen:
            continue
        seen.add(name)
        yield from tree.find_all(nodes.Block)
        pending += [part for node in tree.find_all(nodes.Extends) for part in referenced_names(node)]


def _nested_blocks(block: nodes.Block) -> Iterator[nodes.Block]:
    for statement in block.body:
        if isinstance(statement, nodes.Block):
            yield statement
        yield from statement.find_all(nodes.Block)


def check_references(templates: ParsedTemplates) -> Iterator[Problem]:
    """Yield references that are unknown, cyclic or computed."""
    files = templates.files
    for name, tree in templates.trees.items():
        for node in _find_references(tree):
            names = referenced_names(node)
            if not names:
                yield Problem(files[name], node.lineno, 'name the other template in quotes: "base.j2"')
            known = [part for part in names if part in files]
            if names and not known and not (isinstance(node, nodes.Include) and node.ignore_missing):
                yield Problem(
                    files[name], node.lineno, f"there is no template {names[0]!r}; {suggest_name(names[0], files)}"
                )
            for part in known:
                if name in find_used_templates(templates, part):
                    message = f"this is a cycle: {part!r} leads back to {name!r}"
                    yield Problem(files[name], node.lineno, message)

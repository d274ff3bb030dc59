"""What templates extend, include and import: by names in quotes only, so that a prompt's parts are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jinja2 import Environment, nodes

from hls_handler.prompting.problems import Problem, nearest

Reference = nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport


@dataclass(frozen=True, slots=True)
class Trees:
    """All templates of a library, parsed."""

    environment: Environment
    trees: Mapping[str, nodes.Template]  # by name: "issues/analyze.j2"; without those that cannot be parsed
    files: Mapping[str, str]  # of all, as the operator knows them


def references(tree: nodes.Template) -> Iterator[Reference]:
    return (node for node in tree.find_all(nodes.Stmt) if isinstance(node, Reference))


def referenced(node: Reference) -> tuple[str, ...]:
    """The names in quotes; () where the name is computed."""
    given = node.template
    if isinstance(given, nodes.Const):
        values = given.value if isinstance(given.value, list | tuple) else [given.value]
        return tuple(value for value in values if isinstance(value, str))
    if isinstance(given, nodes.Tuple | nodes.List):
        constants = [item.value for item in given.items if isinstance(item, nodes.Const)]
        return tuple(constants) if len(constants) == len(given.items) else ()
    return ()


def exported_names(tree: nodes.Template) -> frozenset[str]:
    """What an import of this template offers: its macros and what it sets."""
    macros = {node.name for node in tree.find_all(nodes.Macro)}
    stored = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    return frozenset(macros | stored)


def parts_of(trees: Trees, template: str) -> tuple[str, ...]:
    """A template and all that it extends, includes and imports, each once, itself first. Unknown ones are left out."""
    found: list[str] = []
    ahead = [template]
    while ahead:
        name = ahead.pop(0)
        if name in trees.files and name not in found:
            found.append(name)
            tree = trees.trees.get(name)
            ahead += [part for node in references(tree) for part in referenced(node)] if tree is not None else []
    return tuple(found)


def check_blocks(trees: Trees) -> Iterator[Problem]:
    """Blocks that no template which is extended has a place for: Jinja leaves them away without a word."""
    for name, tree in trees.trees.items():
        extended = [part for node in tree.find_all(nodes.Extends) for part in referenced(node)]
        if not extended:
            continue
        places = {block.name for part in extended for block in _blocks_of(trees, part)}
        inner = {block.name for outer in tree.find_all(nodes.Block) for block in _inside(outer)}
        for block in tree.find_all(nodes.Block):
            if block.name not in places | inner:
                message = f"no template that this one extends has a block {block.name!r}; {nearest(block.name, places)}"
                yield Problem(trees.files[name], block.lineno, message)


def _blocks_of(trees: Trees, template: str) -> Iterator[nodes.Block]:
    """Those of a template and of all that it extends in turn."""
    seen: set[str] = set()
    ahead = [template]
    while ahead:
        name = ahead.pop()
        tree = trees.trees.get(name)
        if tree is None or name in seen:
            continue
        seen.add(name)
        yield from tree.find_all(nodes.Block)
        ahead += [part for node in tree.find_all(nodes.Extends) for part in referenced(node)]


def _inside(block: nodes.Block) -> Iterator[nodes.Block]:
    for statement in block.body:
        if isinstance(statement, nodes.Block):
            yield statement
        yield from statement.find_all(nodes.Block)


def check_references(trees: Trees) -> Iterator[Problem]:
    """References that lead nowhere, or in a circle, or that nobody can foresee."""
    files = trees.files
    for name, tree in trees.trees.items():
        for node in references(tree):
            wanted = referenced(node)
            if not wanted:
                yield Problem(files[name], node.lineno, 'name the other template in quotes: "base.j2"')
            known = [part for part in wanted if part in files]
            if wanted and not known and not (isinstance(node, nodes.Include) and node.ignore_missing):
                yield Problem(
                    files[name], node.lineno, f"there is no template {wanted[0]!r}; {nearest(wanted[0], files)}"
                )
            for part in known:
                if name in parts_of(trees, part):
                    message = f"this goes in a circle: {part!r} leads back to {name!r}"
                    yield Problem(files[name], node.lineno, message)

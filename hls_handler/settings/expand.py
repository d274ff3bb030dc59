"""Expansion of `${VAR}` and `${VAR:-default}` in a parsed settings tree; expanded values are not expanded again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:(?!\$\{)[^}])*))?\}")


@dataclass(slots=True)
class Expansion:
    """A tree with its variables expanded."""

    root: object = None
    variables: dict[str, str] = field(default_factory=dict)  # key path -> first variable in its value
    problems: dict[str, str] = field(default_factory=dict)  # key path -> sentence


def expand(root: object, variables: Mapping[str, str]) -> Expansion:
    """Expand the variables of every string in the tree; keys are not expanded.

    As in a shell, `:-` also gives the default if the variable is empty. A string with a missing variable or an invalid
    `${` is left unchanged and reported as a problem, without its text, since it may contain a secret.
    """
    expansion = Expansion()
    expansion.root = _expand_value(root, "", variables, expansion)
    return expansion


def _expand_value(value: object, path: str, variables: Mapping[str, str], expansion: Expansion) -> object:
    if isinstance(value, dict):
        return {k: _expand_value(v, f"{path}.{k}" if path else k, variables, expansion) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand_value(item, f"{path}[{i}]", variables, expansion) for i, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    if "${" in VARIABLE.sub("", value):
        expansion.problems[path] = "${ does not start a variable here; write ${NAME} or ${NAME:-default}"
        return value
    names = [match[1] for match in VARIABLE.finditer(value)]
    missing = [m[1] for m in VARIABLE.finditer(value) if m[2] is None and m[1] not in variables]
    if missing:
        expansion.problems[path] = _missing_sentence(missing)
        return value
    expansion.variables[path] = names[0]
    return VARIABLE.sub(lambda m: variables.get(m[1], "") or (m[2] or ""), value)


def _missing_sentence(names: list[str]) -> str:
    which = " and ".join(dict.fromkeys(names))
    verb = "is" if len(set(names)) == 1 else "are"
    return f"the variable {which} {verb} not set; set it in the environment or in .env"

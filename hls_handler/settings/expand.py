"""`${VAR}` and `${VAR:-default}` in the values of a settings tree: once, after parsing, never in what they became."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:(?!\$\{)[^}])*))?\}")


@dataclass(slots=True)
class Expansion:
    """A tree with its variables filled in."""

    root: object = None
    variables: dict[str, str] = field(default_factory=dict)  # key path -> the variable its value came from
    problems: dict[str, str] = field(default_factory=dict)  # key path -> sentence


def expand(root: object, variables: Mapping[str, str]) -> Expansion:
    """Fill in the variables of every text in the tree; keys stay as they are.

    As in a shell, `:-` gives the default also where the variable is set to nothing. A text with a variable that is
    missing, or with a `${` that is no variable, stays as it is and has a problem; the text itself is not repeated,
    since it may hold a secret.
    """
    expansion = Expansion()
    expansion.root = _expanded(root, "", variables, expansion)
    return expansion


def _expanded(value: object, path: str, variables: Mapping[str, str], expansion: Expansion) -> object:
    if isinstance(value, dict):
        return {k: _expanded(v, f"{path}.{k}" if path else k, variables, expansion) for k, v in value.items()}
    if isinstance(value, list):
        return [_expanded(item, f"{path}[{i}]", variables, expansion) for i, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    if "${" in VARIABLE.sub("", value):
        expansion.problems[path] = "${ does not start a variable here; write ${NAME} or ${NAME:-default}"
        return value
    names = [match[1] for match in VARIABLE.finditer(value)]
    missing = [m[1] for m in VARIABLE.finditer(value) if m[2] is None and m[1] not in variables]
    if missing:
        expansion.problems[path] = _missing(missing)
        return value
    expansion.variables[path] = names[0]
    return VARIABLE.sub(lambda m: variables.get(m[1], "") or (m[2] or ""), value)


def _missing(names: list[str]) -> str:
    which = " and ".join(dict.fromkeys(names))
    verb = "is" if len(set(names)) == 1 else "are"
    return f"the variable {which} {verb} not set; set it in the environment or in .env"

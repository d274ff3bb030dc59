"""Mapping from the values of a reply's fields to labels, and validation of `labels` in the front matter.

Only values that are known before Claude replies become labels: values of an enum, and true or false.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, get_args, get_origin

from hls_handler.analysis import LabelRule, Reply
from hls_handler.prompting.frontmatter import FrontMatter, KeyLines
from hls_handler.prompting.problems import Problem, suggest_name

VALUE = "{value}"
MAX_LABEL_CHARACTERS = 50
"""GitHub's limit for the name of a label, in characters."""

VALUES_WITHOUT_LABEL = frozenset({"none", "", "false"})
"""Values for which a pattern gives no label."""

BOOLEAN_VALUES = ("true", "false")


def enum_values(hint: object) -> tuple[str, ...]:
    """Return the values of a `Literal`, or of a list of one; () for all other hints."""
    if get_origin(hint) is list:
        return enum_values(get_args(hint)[0])
    return get_args(hint) if get_origin(hint) is Literal else ()


def possible_values(hint: object) -> tuple[str, ...]:
    """Return all values that a field can have, as strings; () if the field is not limited to known values."""
    return BOOLEAN_VALUES if hint is bool else enum_values(hint)


def to_rule_values(value: object) -> tuple[str, ...]:
    """Return the values of a reply's field as strings, in the form that label rules use: True -> ("true",)."""
    if isinstance(value, list):
        return tuple(value)
    return (str(value).lower() if isinstance(value, bool) else str(value),)


def find_label(rule: LabelRule, value: str) -> str | None:
    """Return the label for one value, or None."""
    if not isinstance(rule, str):
        return rule.get(value)
    return None if value in VALUES_WITHOUT_LABEL else rule.replace(VALUE, value)


def group_of(field: str, hint: object, label: str) -> str:
    """Return the group of a label. A conversation has at most one label of a group.

    The group is the field, or for list fields, whose labels are independent, the field and the label.
    """
    return f"{field} {label}" if get_origin(hint) is list else field


def list_possible_labels(rule: LabelRule, hint: object) -> tuple[str, ...]:
    """Return every label that a rule can give for a field."""
    labels = (find_label(rule, value) for value in possible_values(hint))
    return tuple(dict.fromkeys(label for label in labels if label is not None))


def resolve_label_rules(
    model: type[Reply], front: FrontMatter, lines: KeyLines
) -> tuple[Mapping[str, LabelRule], list[Problem]]:
    """Merge the front matter's label rules into the shipped rules, field by field; return them with all problems.

    `model` has the additional fields and the shipped label rules.
    """
    problems: list[Problem] = []
    rules = dict(model.label_rules)
    for field, given in front.labels.items():
        key = ("labels", field)
        if field not in model.model_fields:
            message = f"{front.reply} has no such field; {suggest_name(field, model.model_fields)}"
            problems.append(lines.problem(key, f"labels.{field}: {message}"))
            continue
        if given is None or given is False:
            rules.pop(field, None)
            continue
        found = [*_rule_problems(given, model.model_fields[field].annotation)]
        problems += [lines.problem((*key, *path), f"{'.'.join((*key, *path))}: {message}") for path, message in found]
        if not found and isinstance(given, str | Mapping):
            rules[field] = given
    problems += _label_name_problems(model, rules, lines)
    return rules, problems


def _rule_problems(given: object, hint: object) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the problems of one field's rule as (key path below the field, message)."""
    values = possible_values(hint)
    if not values:
        yield (
            (),
            "only booleans and fields with an enum can become labels, because Claude can write anything into others",
        )
    elif isinstance(given, str) and hint is bool:
        if VALUE in given:
            yield (), "is a boolean; write the label for true, without {value}"
    elif isinstance(given, str):
        if given.count(VALUE) != 1 or set("{}") & set(given.replace(VALUE, "")):
            yield (
                (),
                f"write a pattern with {VALUE} once, false for no label, or a label for each value; found {given!r}",
            )
    elif not isinstance(given, Mapping) or not given:
        yield (), f"write a pattern with {VALUE}, false for no label, or a label for each value; found {given!r}"
    else:
        for value, label in given.items():
            if value not in values:
                yield (value,), f"unknown value; {suggest_name(value, values)}"
            elif not isinstance(label, str):
                yield (value,), f"write the name of a label in quotes, or remove this value; found {label!r}"


def _label_name_problems(model: type[Reply], rules: Mapping[str, LabelRule], lines: KeyLines) -> Iterator[Problem]:
    """Yield labels that GitHub rejects, and labels that two fields have in common."""
    fields: dict[str, str] = {}  # label in lower case -> field
    for field, rule in rules.items():
        key = ("labels", field) if ("labels", field) in lines else ("fields", field)
        for label in list_possible_labels(rule, model.model_fields[field].annotation):
            prefix = f"{'.'.join(key)}: the label {label!r}"
            if len(label) > MAX_LABEL_CHARACTERS:
                yield lines.problem(key, f"{prefix} has {len(label)} characters; GitHub allows {MAX_LABEL_CHARACTERS}")
            if label != label.strip() or not label or "," in label:
                yield lines.problem(key, f"{prefix} is empty, or has a comma, or a leading or trailing space")
            other = fields.setdefault(label.casefold(), field)
            if other != field:
                yield lines.problem(key, f"{prefix} is also a label of {other}; use different labels")

"""Labels from fields: which label each value of a reply's field becomes, and whether what an author says of it holds.

Only values that are known before Claude has answered become labels: those of closed sets, and true or false.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, get_args, get_origin

from hls_handler.analysis import LabelRule, Reply
from hls_handler.prompting.frontmatter import FrontMatter, Lines
from hls_handler.prompting.problems import Problem, nearest

VALUE = "{value}"
LONGEST_LABEL = 50
"""Characters that GitHub lets a label's name have."""

NO_LABEL = frozenset({"none", "", "false"})
"""Values that a pattern makes no label of."""

CLAIM = ("true", "false")


def enum_of(hint: object) -> tuple[str, ...]:
    """The values of a closed set, or of a list of one; () of anything else."""
    if get_origin(hint) is list:
        return enum_of(get_args(hint)[0])
    return get_args(hint) if get_origin(hint) is Literal else ()


def values_of(hint: object) -> tuple[str, ...]:
    """All values that a field can have, as rules name them; () where they are not known beforehand."""
    return CLAIM if hint is bool else enum_of(hint)


def values_in(value: object) -> tuple[str, ...]:
    """The values that a reply has in a field, as rules name them."""
    if isinstance(value, list):
        return tuple(value)
    return (str(value).lower() if isinstance(value, bool) else str(value),)


def label_of(rule: LabelRule, value: str) -> str | None:
    """The label of one value; None if it has none."""
    if not isinstance(rule, str):
        return rule.get(value)
    return None if value in NO_LABEL else rule.replace(VALUE, value)


def group_of(field: str, hint: object, label: str) -> str:
    """Of a field a thread carries one label, unless the field is a list: then each label is a group of its own."""
    return f"{field} {label}" if get_origin(hint) is list else field


def labels_of(rule: LabelRule, hint: object) -> tuple[str, ...]:
    """Every label that a field may become."""
    labels = (label_of(rule, value) for value in values_of(hint))
    return tuple(dict.fromkeys(label for label in labels if label is not None))


def label_rules(model: type[Reply], front: FrontMatter, lines: Lines) -> tuple[Mapping[str, LabelRule], list[Problem]]:
    """The shipped rules of a reply type with the author's laid over, field by field, and what is wrong with those.

    `model` has the author's fields and the shipped rules.
    """
    problems: list[Problem] = []
    rules = dict(model.label_rules)
    for field, given in front.labels.items():
        key = ("labels", field)
        if field not in model.model_fields:
            message = f"{front.reply} has no such field; {nearest(field, model.model_fields)}"
            problems.append(lines.problem(key, f"labels.{field}: {message}"))
            continue
        if given is None or given is False:
            rules.pop(field, None)
            continue
        found = [*_rule_problems(given, model.model_fields[field].annotation)]
        problems += [lines.problem((*key, *below), f"{'.'.join((*key, *below))}: {said}") for below, said in found]
        if not found and isinstance(given, str | Mapping):
            rules[field] = given
    problems += _name_problems(model, rules, lines)
    return rules, problems


def _rule_problems(given: object, hint: object) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with the rule of one field: at which key below it, and why."""
    values = values_of(hint)
    if not values:
        yield (), "only fields with an enum, lists of one, and true or false become labels; Claude could write anything"
    elif isinstance(given, str) and hint is bool:
        if VALUE in given:
            yield (), "is true or false; write the label that stands for true, without {value}"
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
                yield (value,), f"there is no such value; {nearest(value, values)}"
            elif not isinstance(label, str):
                yield (value,), f"write a label's name in quotes, or leave the value out; found {label!r}"


def _name_problems(model: type[Reply], rules: Mapping[str, LabelRule], lines: Lines) -> Iterator[Problem]:
    """Labels that GitHub would not take, and those that two fields would quarrel about."""
    taken: dict[str, str] = {}
    for field, rule in rules.items():
        key = ("labels", field) if ("labels", field) in lines else ("fields", field)
        for label in labels_of(rule, model.model_fields[field].annotation):
            told = f"{'.'.join(key)}: the label {label!r}"
            if len(label) > LONGEST_LABEL:
                yield lines.problem(key, f"{told} has {len(label)} characters; GitHub takes at most {LONGEST_LABEL}")
            if label != label.strip() or not label or "," in label:
                yield lines.problem(key, f"{told} is empty, or has a comma or a space at an end")
            other = taken.setdefault(label.casefold(), field)
            if other != field:
                yield lines.problem(key, f"{told} is that of {other} as well; give them different ones")

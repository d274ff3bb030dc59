"""Builds the reply type of a prompt: a type of `analysis.py`, extended by `fields` and `labels` of
its front matter.

A *label rule* maps the values of a reply field to labels. Only enum and boolean fields can have a
label rule, because the values of other fields are unknown before Claude replies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model

from hls_handler.analysis import (
    ASSESSMENT,
    MAX_FILE_SUMMARIES,
    MAX_LABEL_CHARACTERS,
    REPLY_TYPES,
    SCORES,
    VALUE,
    Difficulty,
    FileSummary,
    IssueAnalysis,
    LabelRule,
    OptionalText,
    Priority,
    PullRequestAnalysis,
    ReplyFields,
    Score,
    enum_values,
    list_possible_labels,
    possible_values,
)
from hls_handler.prompting.front_matter import (
    Checked,
    FieldKeys,
    FrontMatter,
    Problem,
    problem_at,
    suggest_name,
)
from hls_handler.settings.yaml_parser import Sources
from hls_handler.untrusted.cleaning import CodeText, clean
from hls_handler.untrusted.redaction import redact

EMPTY_VALUES: Mapping[object, Any] = {bool: False, int: 0, float: 0.0}
"""Field type -> value of a field that a reply lacks. Other types: "" or []."""


PLACEHOLDER = re.compile(r"\{[^{}]*\}")


def _resolve_label_rules(
    model: type[ReplyFields], front: FrontMatter, lines: Sources
) -> Checked[Mapping[str, LabelRule]]:
    problems: list[Problem] = []
    rules = dict(model.label_rules)
    for field, rule in front.labels.items():
        key = f"labels.{field}"
        if field not in model.model_fields:
            message = f"{front.reply} has no such field; {suggest_name(field, model.model_fields)}"
            problems.append(problem_at(lines, key, f"{key}: {message}"))
            continue
        if rule is None or rule is False:
            rules.pop(field, None)
            continue
        rule_problems = [*_rule_problems(rule, model.model_fields[field].annotation)]
        problems += [
            problem_at(lines, f"{key}{below}", f"{key}{below}: {message}")
            for below, message in rule_problems
        ]
        if not rule_problems and isinstance(rule, str | Mapping):
            rules[field] = rule
    problems += _label_name_problems(model, rules, lines)
    return Checked(rules, problems)


def _rule_problems(rule: object, hint: object) -> Iterator[tuple[str, str]]:
    values = possible_values(hint)
    unknown: list[str] = []
    if isinstance(rule, Mapping):
        unknown = [value for value in rule if value not in values]
    if not values:
        message = "only booleans and fields with an enum can become labels"
        yield "", f"{message}, because the values of other fields are not known in advance"
    elif unknown:
        yield f".{unknown[0]}", f"unknown value; {suggest_name(unknown[0], values)}"
    elif not _is_label_rule(rule, is_boolean=hint is bool):
        form = "the label for true" if hint is bool else f"a pattern with {VALUE} once"
        others = "false (no label), or the name of a label in quotes for each value"
        yield "", f"must be {form}, {others}; found {rule!r}"


def _is_label_rule(rule: object, *, is_boolean: bool) -> bool:
    if isinstance(rule, Mapping):
        return bool(rule) and all(map(_is_label, rule.values()))
    if not isinstance(rule, str):
        return False
    if is_boolean:
        return _is_label(rule)
    return VALUE in rule and not set("{}") & set(rule.replace(VALUE, "", 1))


def _is_label(value: object) -> bool:
    return isinstance(value, str) and not PLACEHOLDER.search(value)


def _label_name_problems(
    model: type[ReplyFields], rules: Mapping[str, LabelRule], lines: Sources
) -> Iterator[Problem]:
    fields: dict[str, str] = {}  # label in lower case -> field
    for field, rule in rules.items():
        key = f"labels.{field}"
        if not lines.contains(key):
            key = f"fields.{field}"
        for label in list_possible_labels(rule, model.model_fields[field].annotation):
            messages: list[str] = []
            if len(label) > MAX_LABEL_CHARACTERS:
                messages.append(
                    f"has {len(label)} characters; GitHub allows {MAX_LABEL_CHARACTERS}"
                )
            if label != label.strip() or not label or "," in label:
                messages.append("is empty, or has a comma, or a leading or trailing space")
            other = fields.setdefault(label.casefold(), field)
            if other != field:
                messages.append(f"is also a label of {other}; use different labels")
            for message in messages:
                yield problem_at(lines, key, f"{key}: the label {label!r} {message}")


FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")

FIELD_TYPES: Mapping[str, Any] = {
    "string": Annotated[str, Field(max_length=4000)],
    "integer": int,
    "number": Annotated[float, Field(allow_inf_nan=False)],
    "boolean": bool,
    "list": Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=20)],
    SCORES: list[Score],
}
"""`type` in the front matter -> type of the field. Longer texts and lists of a reply are cut."""


def build_reply_model(front: FrontMatter, lines: Sources) -> Checked[type[ReplyFields] | None]:
    """Return a prompt's reply type, and the problems of `fields` and `labels`. The type is None if
    it cannot be built.

    The type is the one that `front.reply` names, or a subclass with more fields and labels. Prompts
    with equal definitions get the same type.
    """
    base = REPLY_TYPES.get(front.reply)
    if base is None:
        return Checked(None)
    problems: list[Problem] = []
    for name, keys in front.fields.items():
        for below, message in _field_problems(base, front.reply, name, keys):
            key = f"fields.{name}{below}"
            problems.append(problem_at(lines, key, f"{key}: {message}"))
    if problems:
        return Checked(None, problems)
    fields = tuple(front.fields.items())
    # The model needs the additional fields first, because label rules can be for them.
    shipped_rules = _derive_model(base, fields, json.dumps(base.label_rules))
    rules = _resolve_label_rules(shipped_rules, front, lines)
    return Checked(_derive_model(base, fields, json.dumps(rules.value)), rules.problems)


OPTIONAL_FIELDS: Mapping[str, Any] = {
    "priority": (Priority, Field(description="How much depends on it that this is merged soon.")),
    "difficulty": (Difficulty, Field(description="How much knowledge and care its review needs.")),
    "file_summaries": (
        Annotated[list[FileSummary], Field(max_length=MAX_FILE_SUMMARIES)],
        Field(description="One for each of the first files, in their order."),
    ),
    "suggested_title": (
        Annotated[OptionalText, Field(max_length=300)],
        Field(description="A better title of the pull request: type: description."),
    ),
}
"""Name -> definition of the fields that a review has only if settings ask for them."""


def with_optional_fields(model: type[ReplyFields], names: Iterable[str]) -> type[ReplyFields]:
    """Return the model with those of `OPTIONAL_FIELDS` that `names` has, and their labels.

    Only a review gets them, and a field of this name that the prompt itself has stays as it is.
    """
    if not issubclass(model, PullRequestAnalysis):
        return model
    added = frozenset(names) - model.model_fields.keys()
    return _add_fields(model, tuple(name for name in OPTIONAL_FIELDS if name in added))


@cache
def _add_fields(model: type[ReplyFields], names: tuple[str, ...]) -> type[ReplyFields]:
    if not names:
        return model
    fields: dict[str, Any] = {name: OPTIONAL_FIELDS[name] for name in names}
    made = create_model(
        model.__name__, __base__=model, __doc__=model.__doc__, __module__=model.__module__, **fields
    )
    rules = {name: IssueAnalysis.label_rules[name] for name in names if name in ASSESSMENT}
    made.label_rules = {**model.label_rules, **rules}
    return made


def complete_static_reply(reply: ReplyFields, model: type[ReplyFields]) -> ReplyFields:
    """Convert a reply that HLS wrote without Claude to the type `model`. Fields that `reply` lacks
    are empty.

    If `model` is no subclass of the reply's type, the reply is returned unchanged.
    """
    if not issubclass(model, type(reply)):
        return reply
    added = model.model_fields.keys() - type(reply).model_fields.keys()
    hints = {name: model.model_fields[name].annotation for name in added}
    empty = {name: _empty_value(hint) for name, hint in hints.items()}
    return model.model_construct(**dict(reply), **empty)


def _empty_value(hint: object) -> Any:
    if get_origin(hint) is list:
        return []
    return EMPTY_VALUES.get(hint, "")


@cache
def permissive_reply_model(base: type[ReplyFields]) -> type[ReplyFields]:
    """Return a variant of the reply type `base` that accepts any string as an enum value, and any
    additional field.

    It is for stored replies: the fields of the prompt or of the reply type may have changed after
    Claude replied. A field that is missing is empty, and is not in `model_fields_set`.
    """
    return _make_permissive(base)


_Model = TypeVar("_Model", bound=BaseModel)


def _make_permissive(base: type[_Model]) -> type[_Model]:
    fields: dict[str, Any] = {}
    for name, field in base.model_fields.items():
        annotation: Any = field.annotation
        if get_origin(annotation) is list:
            item = get_args(annotation)[0]
            if enum_values(annotation):
                annotation = list[str]
            elif isinstance(item, type) and issubclass(item, BaseModel):
                annotation = list[_make_permissive(item)]  # type: ignore[misc]
        elif enum_values(annotation):
            annotation = str
        fields[name] = (annotation, _empty_value(annotation))
    made: Any = type(
        base.__name__,
        (base,),
        {"__module__": base.__module__, "model_config": ConfigDict(extra="allow")},
    )
    return cast(
        type[_Model],
        create_model(base.__name__, __base__=made, __module__=base.__module__, **fields),
    )


def _field_problems(
    base: type[ReplyFields], reply: str, name: str, keys: FieldKeys
) -> Iterator[tuple[str, str]]:
    if name in base.model_fields:
        annotation = base.model_fields[name].annotation
        changeable = sorted(
            other for other, field in base.model_fields.items() if enum_values(field.annotation)
        )
        shipped_type = "list" if get_origin(annotation) is list else "string"
        if name not in changeable or keys.enum is None or keys.type not in (None, shipped_type):
            only = "none"
            if changeable:
                only = f"only the enum of {', '.join(changeable)}"
            message = f"this is already a field of {reply}, of which {only} can be changed"
            yield "", f"{message}; choose another name"
    elif FIELD_NAME.fullmatch(name) is None or hasattr(base, name):
        needed = "a letter, then letters, digits and _, with at most 40 characters"
        yield "", f"this name is reserved, or is not {needed}"
    elif keys.type == SCORES and (name != SCORES or keys.enum is None):
        message = "a field of the type scores must be called scores"
        yield "", f"{message}, and its enum has the dimensions"
    elif keys.type is None and keys.enum is None:
        yield "", f"the field has no type; {suggest_name('', FIELD_TYPES)}"
    elif keys.enum is not None and keys.type not in (None, "string", "list", SCORES):
        message = "only the types string, list and scores can have an enum"
        yield ".enum", f"{message}; the type is {keys.type}"
    if keys.enum is not None:
        for message in _enum_problems(keys.enum):
            yield ".enum", message


def _enum_problems(values: Sequence[str]) -> Iterator[str]:
    for value in values:
        if "\n" in value or value != value.strip() or clean(CodeText(value)) != value:
            mistake = "has a line break, a leading or trailing space, or an invisible character"
            yield f"{value!r} {mistake}"
        elif redact(value) != value:
            yield "a value looks like a credential, and credentials are redacted in replies"
    different = len(set(values))
    if not 2 <= different == len(values) <= 100:
        yield f"an enum must have 2 to 100 different values; found {different}"


# a reload of the library must create no new types, because Python would keep the old types in
# memory
@cache
def _derive_model(
    base: type[ReplyFields], fields: tuple[tuple[str, FieldKeys], ...], rules: str
) -> type[ReplyFields]:
    # JSON, because the arguments of a cached function must be hashable
    label_rules = json.loads(rules)
    if not fields and label_rules == base.label_rules:
        return base
    definitions: dict[str, Any] = {
        name: _field_definition(base, name, keys) for name, keys in fields
    }
    model = create_model(
        base.__name__,
        __base__=base,
        __doc__=base.__doc__,
        __module__=base.__module__,
        **definitions,
    )
    model.label_rules = label_rules
    return model


def _field_definition(base: type[ReplyFields], name: str, keys: FieldKeys) -> tuple[Any, Any]:
    is_list = keys.type in ("list", SCORES)
    description = keys.description
    shipped = base.model_fields.get(name)
    if shipped is not None:
        is_list = is_list or get_origin(shipped.annotation) is list
        description = description or shipped.description
    field = Field(description=description)
    if keys.enum is None:
        return FIELD_TYPES[keys.type or "string"], field
    item = cast("Any", Literal)[keys.enum]
    if keys.type == SCORES:
        item = create_model("Score", __base__=Score, dimension=(item, ...))
    if is_list:
        return Annotated[cast("Any", list)[item], Field(max_length=len(keys.enum))], field
    return item, field

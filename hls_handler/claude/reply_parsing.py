"""Parses Claude's reply: finds the JSON object in its text, and makes the values fit the fields of
the reply type.

Claude's API enforces the schema without bounds. Other services may ignore it, and write text around
the object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from hls_handler.analysis import OPTIONAL, STATED, RenderedPrompt, UnusableReply
from hls_handler.settings.providers import ClaudeSettings
from hls_handler.wording import describe_invalid, shorten

MAX_PROBLEMS = 5  # most problems in one message; Claude seldom needs more to correct its reply

M = TypeVar("M", bound=BaseModel)


class UnreadableReply(Exception):
    """A reply that is not valid in spite of the repairs. The message names the problems, for Claude
    and for people.
    """


@dataclass(frozen=True, slots=True)
class ParsedReply(Generic[M]):
    reply: M
    lost: Mapping[str, str]  # by field: why some entries of a list are not in the reply


def parse_reply(text: str, model: type[M]) -> ParsedReply[M]:
    """Return the reply in a text. Raises `UnreadableReply`.

    An entry that cannot be used is left out. A list is cut to the length that the field allows.
    """
    values = _find_object(text, model)
    fitted = fit(values, model)
    problems = ""
    try:
        reply = model.model_validate(fitted)
    except ValidationError as exc:
        problems = describe_problems(exc)
        unusable = {error["loc"][:2] for error in exc.errors() if len(error["loc"]) > 1}
        for name in {name for name, _ in unusable}:
            entries = enumerate(fitted[str(name)])
            fitted[str(name)] = [entry for index, entry in entries if (name, index) not in unusable]
        try:
            reply = model.model_validate(fitted)
        except ValidationError:
            raise UnreadableReply(problems) from None
    reason = ""
    if problems:
        reason = f" ({problems})"
    lost = {}
    for name, entries in values.items():
        if isinstance(entries, list) and name in fitted and len(fitted[name]) < len(entries):
            used = f"{len(fitted[name])} of {len(entries)} entries of {name}"
            lost[name] = f"{used} in Claude's reply could be used{reason}"
    return ParsedReply(reply, lost)


def describe_problems(exc: ValidationError) -> str:
    errors = exc.errors(include_input=False, include_url=False, include_context=False)
    problems = [shorten(describe_invalid(error, whole="the reply")) for error in errors]
    more = len(problems) - MAX_PROBLEMS
    if more > 0:
        problems[MAX_PROBLEMS:] = [f"and {more} more"]
    return "; ".join(problems)


OBJECT = re.compile(r'\{(?=\s*+["}])')
MAX_STARTS = 1_000  # of objects in the text around the reply that are none, because each takes time
TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*+(?:"|\\?\Z))|,(?=\s*+[}\]])', re.DOTALL)
INVALID_ESCAPE = re.compile(r"""(\\["\\/bfnrtu])|\\""")
END_OF_THINKING = re.compile("</think(?:ing)?>", re.IGNORECASE)


def _find_object(text: str, model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON object in a text that has the most fields of `model`. Several must be equal.

    Those in front of the end of a thinking block do not count.
    """
    start = max(text.find("{"), 0)
    text = text[:start] + TRAILING_COMMA.sub(_repair, text[start:])
    names = ", ".join(model.model_fields)
    problem = f"it has no JSON object with the fields {names}"
    longest = 0
    failed = 0
    objects: list[dict[str, Any]] = []
    after = 0
    end = 0
    while failed < MAX_STARTS:
        opened = OBJECT.search(text, after)
        if opened is None:
            break
        object_start = opened.start()
        try:
            parsed, after = DECODER.raw_decode(text, object_start)
        except RecursionError:
            raise UnreadableReply("the reply: Invalid JSON: it is nested too deeply") from None
        except ValueError as exc:
            after = max(getattr(exc, "pos", 0), object_start + 1)
            failed += 1
            if after - object_start > longest:
                problem = f"Invalid JSON: {exc}"
                longest = after - object_start
        else:
            if END_OF_THINKING.search(text, end, object_start):
                objects.clear()
            if parsed.keys() & model.model_fields.keys():
                objects.append(parsed)
                end = after
            else:  # it may be around the reply: {"name": "reply", "input": {...}}
                after = object_start + 1
    if not objects:
        raise UnreadableReply(f"the reply: {problem}")
    counts = [len(parsed.keys() & model.model_fields.keys()) for parsed in objects]
    best = [parsed for parsed, number in zip(objects, counts, strict=True) if number == max(counts)]
    if any(parsed != best[0] for parsed in best):
        raise UnreadableReply(
            f"the reply: it has {len(best)} JSON objects that differ; one is needed"
        )
    return best[0]


def _repair(match: re.Match[str]) -> str:
    """Return a string with its invalid escapes, such as those of a regular expression, escaped; " "
    for a comma.
    """
    if not match[1]:
        return " "
    return INVALID_ESCAPE.sub(lambda pair: pair[1] or r"\\", match[1])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for key, value in pairs:
        if key in merged:
            raise UnreadableReply(f"the reply: the key {shorten(key)} occurs twice")
        merged[key] = value
    return merged


# not strict: with line breaks in strings
DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_unique)


def fit(values: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Return the values of the fields of `model`, within the bounds of the fields. Other values are
    left out.
    """
    fitted = {}
    for name, field in model.model_fields.items():
        if name in values or _may_be_absent(field):
            fitted[name] = _fit(values.get(name), field)
    return fitted


def _may_be_absent(field: FieldInfo) -> bool:
    if get_origin(field.annotation) is list:
        return STATED not in field.metadata
    return OPTIONAL in field.metadata or _may_be_none(field)


def _may_be_none(field: FieldInfo) -> bool:
    return NoneType in get_args(field.annotation)


def _fit(value: Any, field: FieldInfo) -> Any:
    """Return the value as near to the field's type and bounds as it can be. It may still be
    invalid.
    """
    hint: Any = field.annotation
    if _may_be_none(field):
        if value is None:
            return None
        hint = next(part for part in get_args(hint) if part is not NoneType)
    bounds: dict[str, Any] = {}
    for name in BOUNDS:
        for part in field.metadata:
            bounds[name] = getattr(part, name, bounds.get(name))
    max_length = bounds.get("max_length")
    if get_origin(hint) is Literal:
        return _fit_enum(value, get_args(hint))
    if value is None and STATED in field.metadata:
        return None
    if get_origin(hint) is list and isinstance(value, list | None):
        item = FieldInfo.from_annotation(get_args(hint)[0])
        return [_fit(entry, item) for entry in (value or [])[:max_length]]
    if isinstance(hint, type) and issubclass(hint, BaseModel) and isinstance(value, dict):
        return fit(value, hint)
    if value is None and hint in EMPTY_NUMBERS:
        return EMPTY_NUMBERS[hint]
    if hint is str and isinstance(value, str | None):
        return _fit_text(value or "", max_length, is_optional=_may_be_none(field))
    if hint is float:
        return _fit_number(value, bounds.get("ge"), bounds.get("le"))
    return value


BOUNDS = ("max_length", "ge", "le")
# null for an index or a score is no value
EMPTY_NUMBERS: Mapping[Any, Any] = {
    bool: False,
    float: 0.0,
}


def _fit_enum(value: Any, values: tuple[Any, ...]) -> Any:
    same = [member for member in values if _letters(member) == _letters(value)]
    if len(same) == 1 and value not in values:
        return same[0]
    return value


def _letters(value: Any) -> str:
    return re.sub(r"[\W_]", "", str(value)).casefold()  # "Bug Fix" and "bug_fix" are bug-fix


def _fit_text(text: str, max_chars: int | None, *, is_optional: bool) -> str | None:
    """Return the text, or its beginning up to a word. An optional text, such as replacement code,
    is whole or None.
    """
    if max_chars is None or len(text) <= max_chars:
        return text
    if is_optional:
        return None
    return text[: max_chars - 1].rsplit(maxsplit=1)[0] + "…"


def _fit_number(value: Any, minimum: float | None, maximum: float | None) -> Any:
    """Return the number within its bounds. If they are those of a share, a number over 1 is in
    percent.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return value
    if maximum == 1 and number > 1:
        number /= 100
    if minimum is not None:
        number = max(number, minimum)
    if maximum is not None:
        number = min(number, maximum)
    return number


def advise(
    claude: ClaudeSettings, file: str, rendered: RenderedPrompt, answer: UnusableReply
) -> str:
    """Return what the operator can do about a reply that cannot be used. `file` is that of the
    prompt.
    """
    limit = (
        f"max_tokens in {file}"
        if rendered.prompt.max_tokens
        else "claude.max_tokens in the settings"
    )
    advice = {
        "truncated": f"raise {limit}, then run it again",
        "refused": "a person has to read it",
        "stopped": f"shorten what {file} sends, then run it again",
        "oversized": (
            f"see whether claude.base_url is the address of Claude's API, or raise {limit}"
        ),
        "invalid": f"check what {file} asks for, then run it again",
    }[answer.why]
    provider, _ = claude.find_model(answer.usage.model)
    host = urlsplit(provider.base_url).hostname
    if answer.why == "invalid" and provider.structured_output and host != "api.anthropic.com":
        key = f"{claude.find_key(provider)}.structured_output"
        advice = f"set {key} to false if {host} does not enforce the schema of replies, or {advice}"
    return advice

"""How results of steps are kept: versioned JSON, redacted, under a name and an index.

A step that another version of this code remembered in a shape that this one does not know is done again, never misread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from hls_handler.actions import Outcome
from hls_handler.analysis import REPLY_TYPES, Reply, UnusableReply, Usage, ValidReply
from hls_handler.deliveries import Checkpoint
from hls_handler.handlers.handler import Handler
from hls_handler.handlers.labels import LabelState
from hls_handler.prompting.reply_fields import permissive_reply_model
from hls_handler.untrusted.cleaning import CodeText, clean
from hls_handler.untrusted.redaction import redact

T = TypeVar("T")


class Codec(Generic[T]):
    """Turns one kind of step result into `Checkpoint` and back."""

    def __init__(self, name: str, version: int, shape: TypeAdapter[T]) -> None:
        self.name, self.version = name, version
        self._shape = shape

    def encode(self, value: T, *, index: int, took_s: float) -> Checkpoint:
        plain = mapped(self._shape.dump_python(value, mode="json"), redact)
        return Checkpoint(self.name, index, self.version, _JSON.dump_json(plain).decode(), took_s)

    def decode(self, step: Checkpoint | None) -> T | None:
        """The value, or None when there is none or it has another version's shape."""
        if step is None or step.version != self.version:
            return None
        try:
            return self._shape.validate_json(step.value)
        except ValidationError:
            return None


def mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The same JSON tree with every string changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: mapped(part, change) for key, part in value.items()}
    if isinstance(value, list):
        return [mapped(part, change) for part in value]
    return value


def _visible(text: str) -> str:
    """Without what nobody sees. HTML comments stay: in a suggested line of code they are code."""
    return clean(CodeText(text))


@dataclass(frozen=True, slots=True)
class Writing:
    """A comment that was about to be written. If a later round finds it to say so already, it was written by that."""

    family: str
    how: Literal["created", "edited"]


@dataclass(frozen=True, slots=True)
class _KeptAnswer:
    """An `ValidReply` whose reply is kept as JSON beside the name of its type, which decides how it is read back."""

    prompt_id: str
    reply_type: str
    reply: dict[str, Any]
    usage: Usage


_JSON: TypeAdapter[Any] = TypeAdapter(Any)
_ANSWER = Codec("ask", 1, TypeAdapter(_KeptAnswer))

RULE = Codec("route", 1, TypeAdapter(str))
OMITTED = Codec("not_shown", 1, TypeAdapter(str))
"""What of the event Claude was not shown, in sentences: under 0 what a handler left out, behind it what prompts cut."""
UNUSABLE = Codec("unusable", 1, TypeAdapter(UnusableReply))
OUTCOME = Codec("apply", 1, TypeAdapter(Outcome))
WRITING = Codec("writing", 1, TypeAdapter(Writing))
BEFORE = Codec("before", 1, TypeAdapter(dict[str, LabelState]))
"""What was remembered of a thread's labels when a delivery first came to them: its outcome is told against that."""


def facts_codec(handler: Handler[Any]) -> Codec[Any]:
    facts_type: Any = handler.facts_type
    return Codec("gather", handler.facts_version, _adapter(facts_type))


@cache  # making one costs as much as half of the pipeline
def _adapter(facts_type: Any) -> TypeAdapter[Any]:
    return TypeAdapter(facts_type)


def keep_answer(answered: ValidReply, *, index: int) -> Checkpoint:
    """Cleaned first, so that a credential with an invisible character in it is redacted, too.

    The mark may be longer than the credential: what grows over its bound by that is cut, or nobody could recall it.
    """
    plain = mapped(answered.reply.model_dump(mode="json"), lambda text: redact(_visible(text)))
    reply = _cut_to_bounds(plain, type(answered.reply))
    kept = _KeptAnswer(answered.prompt_id, answered.reply_type, reply, answered.usage)
    return _ANSWER.encode(kept, index=index, took_s=answered.usage.took_s)


def _cut_to_bounds(reply: dict[str, Any], reply_type: type[Reply]) -> dict[str, Any]:
    try:
        reply_type.model_validate(reply)
    except ValidationError as exc:
        for error in exc.errors(include_url=False, include_input=False):
            if error["type"] == "string_too_long":
                *path, last = error["loc"]
                place: Any = reply
                for key in path:
                    place = place[key]
                place[last] = place[last][: error["ctx"]["max_length"]]
    return reply


def recall_answer(step: Checkpoint | None, *, reply_type: str, model: type[Reply]) -> ValidReply | None:
    """The remembered answer, as a prompt of now would have it; None when there is none, or its reply does not fit.

    The prompt may be another than the one that was asked, or have other fields by now.
    """
    kept = _ANSWER.decode(step)
    return _answered(kept, model) if kept is not None and kept.reply_type == reply_type else None


def retell_answer(step: Checkpoint | None) -> ValidReply | None:
    """The remembered answer for people to read, whatever fields its prompt had: the reply's type is an open one."""
    kept = _ANSWER.decode(step)
    base = REPLY_TYPES.get(kept.reply_type) if kept is not None else None
    return _answered(kept, permissive_reply_model(base)) if kept is not None and base is not None else None


def _answered(kept: _KeptAnswer, model: type[Reply]) -> ValidReply | None:
    try:
        reply = model.model_validate(kept.reply)
    except ValidationError:
        return None
    return ValidReply(kept.prompt_id, kept.reply_type, reply, kept.usage)

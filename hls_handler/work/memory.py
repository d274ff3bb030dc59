"""Codecs of checkpoints: step results as versioned, redacted JSON under a step name and an index.

A checkpoint that another version of HLS stored in an unknown shape is ignored, and the step runs again.
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
    """Encodes one type of step result as a `Checkpoint` and decodes it."""

    def __init__(self, name: str, version: int, shape: TypeAdapter[T]) -> None:
        self.name, self.version = name, version
        self._shape = shape

    def encode(self, value: T, *, index: int, took_s: float) -> Checkpoint:
        """Return the checkpoint, with credentials redacted in every string."""
        plain = map_strings(self._shape.dump_python(value, mode="json"), redact)
        return Checkpoint(self.name, index, self.version, _JSON.dump_json(plain).decode(), took_s)

    def decode(self, step: Checkpoint | None) -> T | None:
        """Return the value; None if there is no checkpoint or its version or shape differs."""
        if step is None or step.version != self.version:
            return None
        try:
            return self._shape.validate_json(step.value)
        except ValidationError:
            return None


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """Return the JSON tree with `change` applied to every string value."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: map_strings(part, change) for key, part in value.items()}
    if isinstance(value, list):
        return [map_strings(part, change) for part in value]
    return value


def _visible(text: str) -> str:
    """Return the text without invisible characters. HTML comments stay, because suggested code may contain them."""
    return clean(CodeText(text))


@dataclass(frozen=True, slots=True)
class Writing:
    """A comment write that may have happened. If a retry finds the comment up to date, this write made it so."""

    family: str
    how: Literal["created", "edited"]


@dataclass(frozen=True, slots=True)
class _StoredReply:
    """A `ValidReply` with the reply as JSON and the name of its type, which decides how it is decoded."""

    prompt_id: str
    reply_type: str
    reply: dict[str, Any]
    usage: Usage


_JSON: TypeAdapter[Any] = TypeAdapter(Any)
_ANSWER = Codec("ask", 1, TypeAdapter(_StoredReply))

RULE = Codec("route", 1, TypeAdapter(str))
OMITTED = Codec("not_shown", 1, TypeAdapter(str))
"""Sentences about what Claude was not shown: index 0 from the handler, later ones from texts cut in prompts."""
UNUSABLE = Codec("unusable", 1, TypeAdapter(UnusableReply))
OUTCOME = Codec("apply", 1, TypeAdapter(Outcome))
WRITING = Codec("writing", 1, TypeAdapter(Writing))
BEFORE = Codec("before", 1, TypeAdapter(dict[str, LabelState]))
"""Stored label states before a delivery's first write, so that a retry reports the same outcome."""


def facts_codec(handler: Handler[Any]) -> Codec[Any]:
    """Return the codec of the handler's facts."""
    facts_type: Any = handler.facts_type
    return Codec("gather", handler.facts_version, _adapter(facts_type))


@cache  # making an adapter takes as long as half of the pipeline
def _adapter(facts_type: Any) -> TypeAdapter[Any]:
    return TypeAdapter(facts_type)


def encode_reply(answered: ValidReply, *, index: int) -> Checkpoint:
    """Return the checkpoint of a reply, cleaned and redacted.

    Cleaning comes first, so that a credential that contains an invisible character is redacted. A redaction mark may be
    longer than the credential; a string that exceeds its maximum length because of that is cut, so it can be decoded.
    """
    plain = map_strings(answered.reply.model_dump(mode="json"), lambda text: redact(_visible(text)))
    reply = _cut_to_max_lengths(plain, type(answered.reply))
    stored = _StoredReply(answered.prompt_id, answered.reply_type, reply, answered.usage)
    return _ANSWER.encode(stored, index=index, took_s=answered.usage.took_s)


def _cut_to_max_lengths(reply: dict[str, Any], reply_type: type[Reply]) -> dict[str, Any]:
    try:
        reply_type.model_validate(reply)
    except ValidationError as exc:
        for error in exc.errors(include_url=False, include_input=False):
            if error["type"] == "string_too_long":
                *path, last = error["loc"]
                parent: Any = reply
                for key in path:
                    parent = parent[key]
                parent[last] = parent[last][: error["ctx"]["max_length"]]
    return reply


def decode_reply(step: Checkpoint | None, *, reply_type: str, model: type[Reply]) -> ValidReply | None:
    """Return the stored reply validated by the current prompt's model; None if there is none or it is not valid.

    The prompt may be another one than the reply was made for, or may have other fields by now.
    """
    stored = _ANSWER.decode(step)
    return _validate(stored, model) if stored is not None and stored.reply_type == reply_type else None


def decode_reply_for_display(step: Checkpoint | None) -> ValidReply | None:
    """Return the stored reply with whatever fields its prompt had, for display; None if there is none."""
    stored = _ANSWER.decode(step)
    base = REPLY_TYPES.get(stored.reply_type) if stored is not None else None
    return _validate(stored, permissive_reply_model(base)) if stored is not None and base is not None else None


def _validate(stored: _StoredReply, model: type[Reply]) -> ValidReply | None:
    try:
        reply = model.model_validate(stored.reply)
    except ValidationError:
        return None
    return ValidReply(stored.prompt_id, stored.reply_type, reply, stored.usage)

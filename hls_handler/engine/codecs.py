"""The results of steps as checkpoints, and replies of Claude as they are stored.

A checkpoint is redacted JSON with a name, an index and a version. If its codec has another version
or cannot decode it, the checkpoint is ignored and the step runs again. After an upgrade, that is
right for facts, and wrong for what was written: an outcome, a begun write and the labels before it
stay readable. The codec and the name of each checkpoint:

- "route": the rule. "repository_settings" 0: the repository's file, 1: the organisation's file.
  "title_check": the check of the title. "merge_group": the pull requests of a merge queue.
- "gather": the facts. "look_up": what a reply asks to see besides.
- "unanswered" n: why a call of prompt n got no usable reply (replies are stored with their calls).
  "unverified": why the findings were not verified.
- "omissions" 0: what the handler left out, n + 1: what was cut in prompt n, 100: why parts of the
  facts have no reply. "unshown" n: the files that prompt n did not show as a
  whole. "context": what Claude got besides the event.
- "post" n: the outcome of an action, found by its target. "writing" n: the action begins to write.
  "before": the label states before the first write. "settings_reported": the comment on a file's
  problems, and "writing" `PROBLEMS_INDEX`.
- "reaction": the reaction to a command. /help also has "post" 0 and "writing" 0; a command with a
  handler has those of a handler.

`plan` is pure and has no checkpoint. The names are stored in databases, so never rename a
checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Generic, TypeVar
from zlib import crc32

from pydantic import TypeAdapter, ValidationError

from hls_handler.actions import Outcome
from hls_handler.analysis import REPLY_TYPES, Reply, ReplyFields, UnusableReply
from hls_handler.claude.reply_parsing import fit
from hls_handler.deliveries import Checkpoint
from hls_handler.prompting.reply_fields import permissive_reply_model, with_optional_fields
from hls_handler.settings.repository import RepositorySettingsFile
from hls_handler.store.call_rows import StoredReply
from hls_handler.untrusted.cleaning import CodeText, clean, clean_and_redact
from hls_handler.untrusted.redaction import redact, redact_code, redact_reply

GATHER = "gather"
LOOK_UP = "look_up"
ASK = "ask"
"""Names of the steps of facts and of replies; that of facts is the name of their checkpoint."""

MAX_VERSION = 2**31 - 1
"""The largest number in the column `checkpoints.version`."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """Converts step results of one type to checkpoints and back."""

    name: str
    version: int
    type_adapter: TypeAdapter[T]

    def encode(self, value: T, *, index: int = 0, took_s: float = 0.0) -> Checkpoint:
        """Return the checkpoint, with credentials redacted in every string."""
        plain = map_strings(self.type_adapter.dump_python(value, mode="json"), redact, redact_code)
        return Checkpoint(self.name, index, self.version, _JSON.dump_json(plain).decode(), took_s)

    def decode(self, step: Checkpoint | None) -> T | None:
        """Return the value; None if `step` is None, or was encoded with another version."""
        if step is None or step.version != self.version:
            return None
        try:
            return self.type_adapter.validate_json(step.value)
        except ValidationError:
            return None


_JSON: TypeAdapter[Any] = TypeAdapter(Any)


CODE_FIELDS = frozenset(
    {
        *("numbered", "around", "code", "ours", "quote", "rests_on", "second_sites", "suggestion"),
        *("record", "finding", "file_summaries"),
    }
)
"""Names of the fields of facts and replies that have code. They are redacted as prompts show code,
so that a patch is the same after a restart, and a quote is still a part of its line. `record`,
`finding` and `file_summaries` of facts have text of earlier replies, which was redacted when the
replies were stored.
"""

ABOUT_CODE = frozenset(
    {"pull_request_analysis", "finding_verdicts", "review_analysis", "comment_reply"}
)
"""The types of replies that may repeat values of the code that the prompt shows. Other prompts show
logs as code.
"""


def map_strings(value: Any, change: Callable[[str], str], change_code: Callable[[str], str]) -> Any:
    """Return the JSON tree with `change` applied to every string value, and `change_code` to those
    of `CODE_FIELDS`.
    """
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {
            key: map_strings(part, change_code if key in CODE_FIELDS else change, change_code)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [map_strings(part, change, change_code) for part in value]
    return value


RULE = Codec("route", 1, TypeAdapter(str))
"""A sentence for `hls why`: the rule and the settings that admitted the event."""
FAILURE = Codec("failure", 1, TypeAdapter(str))
"""The name of the step that failed last, with its start, duration and requests."""


OMISSIONS = Codec("omissions", 1, TypeAdapter(str))
"""Sentences about text that Claude did not get: index 0 is from the handler, index n + 1 about cuts
in prompt n.

`NO_REPLY_INDEX` is about parts that got no reply.
"""
UNVERIFIED = Codec("unverified", 1, TypeAdapter(str))
"""Why the findings were not verified; "" if a later attempt verified them."""
CONTEXT = Codec("context", 1, TypeAdapter(str))
"""A sentence part about what Claude gets besides the event: "AGENTS.md (about 120 tokens)"."""
PROBLEMS_REPORTED = Codec("settings_reported", 1, TypeAdapter(Outcome))
OUTCOME = Codec("post", 1, TypeAdapter(Outcome))
SETTINGS_FILE = Codec("repository_settings", 1, TypeAdapter(RepositorySettingsFile))
"""The checkpoint of a repository's file has the index 0, that of its organisation's file 1."""


def facts_codec(shape: type[T]) -> Codec[T]:
    """Return the codec of facts of this type. Its version is a digest of the type's fields, so that
    facts with other fields are read anew.
    """
    hashable: Any = shape
    return _facts_codec(hashable)


@cache
def _facts_codec(shape: Any) -> Codec[Any]:
    adapter = facts_adapter(shape)
    fields = json.dumps(adapter.json_schema(), sort_keys=True)
    return Codec(GATHER, crc32(fields.encode()) & MAX_VERSION, adapter)


facts_adapter = cache(TypeAdapter[Any])  # making one takes as long as half of the pipeline


def encode_reply(answered: Reply, *, shown_code: Sequence[str] = ()) -> StoredReply:
    """Return the reply without invisible characters and credentials.

    Invisible characters are removed first, because they can hide a credential. HTML comments stay,
    because suggested code may contain them. A string that redaction made too long is cut, so that
    the reply stays valid. `shown` is the code that the prompt shows: what stands in it is code in
    the reply, too, whatever name is before it.
    """

    @cache
    def code() -> tuple[str, ...]:
        if answered.reply_type not in ABOUT_CODE:
            return ()
        return tuple(clean_and_redact(CodeText(text)) for text in shown_code)

    def change(text: str) -> str:
        cleaned = clean(CodeText(text))
        hidden = redact(cleaned)
        return hidden if hidden == cleaned else redact_reply(cleaned, code())

    values = answered.fields.model_dump(mode="json")
    plain = map_strings(
        values,
        change,
        lambda text: clean_and_redact(CodeText(text)),
    )
    reply = plain if plain == values else fit(plain, type(answered.fields))
    return StoredReply(
        answered.prompt_id,
        answered.reply_type,
        _JSON.dump_json(reply).decode(),
        answered.usage,
        answered.cached_at,
        {field: redact(text) for field, text in answered.lost.items()},
    )


def redact_unusable(answer: UnusableReply) -> UnusableReply:
    return replace(answer, problem=redact(answer.problem), text=redact(answer.text))


def decode_reply(
    stored: StoredReply | None, *, reply_type: str, model: type[ReplyFields]
) -> Reply | None:
    """Return the reply. None if there is none, or if it is not valid for `reply_type` and `model`.

    The stored reply may be from another prompt, or from an earlier version of the prompt with other
    fields.
    """
    if stored is None or stored.reply_type != reply_type:
        return None
    return _validate(stored, with_optional_fields(model, json.loads(stored.reply)))


def decode_reply_for_display(stored: StoredReply) -> Reply | None:
    """Return the reply, even if its prompt has other fields now; None if its type is unknown."""
    base = REPLY_TYPES.get(stored.reply_type)
    return None if base is None else _validate(stored, permissive_reply_model(base))


def _validate(stored: StoredReply, model: type[ReplyFields]) -> Reply | None:
    try:
        reply = model.model_validate_json(stored.reply)
    except ValidationError:
        return None
    return Reply(
        stored.prompt_id,
        stored.reply_type,
        reply,
        stored.usage,
        cached_at=stored.cached_at,
        lost=stored.lost,
    )

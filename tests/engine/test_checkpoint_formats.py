"""Checkpoints of earlier versions: each stored shape is decoded completely or computed again, never
misread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from hls_handler.analysis import REPLY_TYPES, Finding, FindingVerdict
from hls_handler.deliveries import Checkpoint
from hls_handler.engine.job import (
    Codec,
    decode_old_reply,
    decode_reply,
    decode_reply_for_display,
)
from tests.engine.checkpoint_formats.make import load_stored
from tests.engine.checkpoint_formats.shapes import Shape, codecs, facts_codecs, shapes

STORE_COMMAND = "python -m tests.engine.checkpoint_formats.make"


def name_of(shape: Shape) -> str:
    return f"{shape.kind} {shape.version} {shape.digest}"


@cache
def current_codecs() -> Mapping[str, Codec[Any]]:
    """Codecs of the current code, by kind."""
    return codecs() | {f"gather of {event}": codec for event, codec in facts_codecs().items()}


def decode_with_current_code(shape: Shape) -> Any:
    """Decode a stored checkpoint to plain values; None if the step has to run again."""
    if shape.kind.startswith("ask for "):
        reply_type = shape.kind.removeprefix("ask for ")
        stored = decode_old_reply(Checkpoint("ask", 0, shape.version, shape.value))
        decoded = decode_reply(stored, reply_type=reply_type, model=REPLY_TYPES[reply_type])
        return None if decoded is None else decoded.fields.model_dump(mode="json")
    codec = current_codecs()[shape.kind]
    value = codec.decode(Checkpoint(codec.name, 0, shape.version, shape.value))
    return None if value is None else json.loads(codec.encode(value, index=0, took_s=0.0).value)


NEWEST = {one.kind: one.version for one in load_stored()}
READABLE = [
    one
    for one in load_stored()
    if one.kind in current_codecs() and one.version in current_codecs()[one.kind].readable
]
OUTDATED = [one for one in load_stored() if one.version < NEWEST[one.kind] and one not in READABLE]
CURRENT = [*{one.kind: one for one in load_stored()}.values()]
REPLIES = [one for one in load_stored() if one.kind.startswith("ask for ")]


def test_checkpoint_of_an_older_version_is_not_decoded() -> None:
    decoded = [name_of(one) for one in OUTDATED if decode_with_current_code(one) is not None]
    assert (len(OUTDATED) > 0, decoded) == (True, [])


def test_stored_reply_is_shown_completely_although_its_type_has_more_fields_now() -> None:
    for shape in REPLIES:
        stored = decode_old_reply(Checkpoint("ask", 0, shape.version, shape.value))
        assert stored is not None, name_of(shape)
        shown = decode_reply_for_display(stored)
        assert shown is not None, name_of(shape)
        assert (
            shown.fields.model_dump(mode="json", exclude_unset=True)
            == json.loads(shape.value)["reply"]
        )


def test_stored_reply_that_lacks_a_field_is_requested_again() -> None:
    for shape in (one for one in REPLIES if one not in CURRENT):
        stored_reply = json.loads(shape.value)["reply"]
        reply_type = REPLY_TYPES[shape.kind.removeprefix("ask for ")]
        findings = {tuple(sorted(one)) for one in stored_reply.get("findings", ())}
        is_complete = findings <= {tuple(sorted(Finding.model_fields))}
        verdicts = {tuple(sorted(one)) for one in stored_reply.get("verdicts", ())}
        is_complete = is_complete and verdicts <= {tuple(sorted(FindingVerdict.model_fields))}
        is_complete = is_complete and stored_reply.keys() == reply_type.model_fields.keys()
        assert decode_with_current_code(shape) == (stored_reply if is_complete else None)


def test_checkpoint_of_a_readable_version_gets_defaults_for_new_fields() -> None:
    for shape in READABLE:
        decoded, stored = decode_with_current_code(shape), json.loads(shape.value)
        assert decoded is not None, name_of(shape)
        kept = {name: value for name, value in stored.items() if name in decoded}
        assert stored.keys() - kept.keys() <= {"replied"}, name_of(shape)
        if shape.kind in codecs():
            assert only_adds_empty_values(decoded, stored), name_of(shape)


def only_adds_empty_values(decoded: Any, stored: Any) -> bool:
    if not isinstance(stored, dict) or not isinstance(decoded, dict):
        return bool(decoded == stored)
    added = [decoded[name] for name in decoded.keys() - stored.keys()]
    return all(value in ([], {}, "", 0) for value in added) and all(
        only_adds_empty_values(decoded[name], value) for name, value in stored.items()
    )


def test_other_stored_checkpoints_are_decoded_completely_unless_their_version_is_newer() -> None:
    others = (one for one in load_stored() if one not in (*OUTDATED, *READABLE))
    for shape in (one for one in others if one not in REPLIES or one in CURRENT):
        stored = json.loads(shape.value)
        expected = stored["reply"] if shape.kind.startswith("ask for ") else stored
        assert decode_with_current_code(shape) == expected
    for shape in CURRENT:
        assert decode_with_current_code(shape) is not None
        assert decode_with_current_code(replace(shape, version=shape.version + 1)) is None


def test_shape_changes_only_with_its_version() -> None:
    stored_shapes = load_stored()
    for shape in shapes():
        digests = [
            one.digest
            for one in stored_shapes
            if (one.kind, one.version) == (shape.kind, shape.version)
        ]
        assert digests[-1:] == [shape.digest], (
            f"{shape.kind}: its shape changed. Raise its version (of facts: `facts_version`), so"
            f" that checkpoints of both shapes differ; then `{STORE_COMMAND}` stores an example"
        )


def test_invalid_value_of_a_checkpoint_is_not_decoded() -> None:
    codec = current_codecs()["post"]
    for value in (
        "[]",
        "null",
        '{"action": "labels"}',
        '{"action": "delete", "kind": "changed", "detail": ""}',
        "{",
    ):
        assert codec.decode(Checkpoint("post", 0, 1, value)) is None
    reply = next(one for one in CURRENT if one.kind == "ask for issue_analysis")
    assert (
        decode_with_current_code(replace(reply, value=reply.value.replace('"bug"', '"defect"')))
        is None
    )

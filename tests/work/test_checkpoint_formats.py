"""Steps that other versions remembered: each shape that ever landed is understood or done again, never misread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.analysis import REPLY_TYPES
from hls_handler.deliveries import Checkpoint
from hls_handler.work.memory import Codec, decode_reply, decode_reply_for_display
from tests.work.checkpoint_formats.make import stored
from tests.work.checkpoint_formats.shapes import Shape, codecs, facts_codecs, shapes

REMAKE = "python -m tests.work.checkpoint_formats.make"


def name_of(shape: Shape) -> str:
    return f"{shape.kind} {shape.version} {shape.digest}"


Known = Mapping[str, Codec[Any]]


@pytest.fixture(scope="module")
def known() -> Known:
    """The codecs of now, by kind."""
    return codecs() | {f"gather of {event}": codec for event, codec in facts_codecs().items()}


def recalled(known: Known, shape: Shape) -> Any:
    """What the code of now makes of a step, as plain values; None: it is done again."""
    if shape.kind.startswith("ask for "):
        reply_type = shape.kind.removeprefix("ask for ")
        step = Checkpoint("ask", 0, shape.version, shape.value)
        answered = decode_reply(step, reply_type=reply_type, model=REPLY_TYPES[reply_type])
        assert (answered is None) or decode_reply_for_display(step) is not None
        return None if answered is None else answered.reply.model_dump(mode="json")
    codec = known[shape.kind]
    value = codec.decode(Checkpoint(codec.name, 0, shape.version, shape.value))
    return None if value is None else codec._shape.dump_python(value, mode="json")


@pytest.mark.parametrize("shape", stored(), ids=name_of)
def test_every_shape_that_landed_is_understood_whole_or_done_again(known: Known, shape: Shape) -> None:
    said = json.loads(shape.value)
    whole = said["reply"] if shape.kind.startswith("ask for ") else said
    assert recalled(known, shape) == whole


@pytest.mark.parametrize("shape", {one.kind: one for one in stored()}.values(), ids=name_of)
def test_a_step_of_a_newer_version_is_done_again(known: Known, shape: Shape) -> None:
    assert recalled(known, shape) is not None
    assert recalled(known, replace(shape, version=shape.version + 1)) is None


def test_a_shape_does_not_change_without_its_version() -> None:
    landed = stored()
    for shape in shapes():
        same = [one.digest for one in landed if (one.kind, one.version) == (shape.kind, shape.version)]
        assert same[-1:] == [shape.digest], (
            f"{shape.kind}: its shape changed. Raise its version (of facts: `facts_version`), so that steps of both "
            f"are told apart; then `{REMAKE}` stores an example"
        )


def test_another_value_in_the_place_of_a_step_is_not_read_as_one(known: Known) -> None:
    codec = known["apply"]
    for value in ("[]", "null", '{"action": "labels"}', '{"action": "delete", "kind": "changed", "detail": ""}', "{"):
        assert codec.decode(Checkpoint("apply", 0, 1, value)) is None
    answer = next(one for one in stored() if one.kind == "ask for issue_analysis")
    assert recalled(known, replace(answer, value=answer.value.replace('"bug"', '"defect"'))) is None

"""Derived payloads (the story of the demo) are consistent, and every change to a recorded one is listed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.prompting.recorded import DERIVED, PAYLOADS

CHANGES = (PAYLOADS / "CHANGES.md").read_text()
ABSENT = object()


def diff_prompts(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Return the paths of different values; a replaced account or repository is one value."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        if old != new:
            yield path
        return
    if any(old.get(name) != new.get(name) for name in ("login", "full_name") if name in old and name in new):
        yield path
        return
    for key in {**old, **new}:
        yield from diff_prompts(old.get(key, ABSENT), new.get(key, ABSENT), f"{path}.{key}" if path else key)


@pytest.mark.parametrize("name", DERIVED)
def test_every_change_of_a_derived_payload_is_listed(name: str) -> None:
    payload = recorded.load(name)
    section = CHANGES.split(f"## derived/{payload.event}/{name.removeprefix('demo/')}.json\n")[1].split("\n## ")[0]
    source = re.search(r"From `(recorded/.*?)`", section)
    assert source is not None
    listed = set(re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE))
    original = json.loads((PAYLOADS / source[1]).read_bytes())
    assert set(diff_prompts(original, payload.payload)) == listed

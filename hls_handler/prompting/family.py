"""A family: the events that one handler works on, as far as templates are concerned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from hls_handler.analysis import REPLY_TYPES


@dataclass(frozen=True, slots=True)
class Family:
    """What the templates of one event see, and recorded examples of it. A library is given one for each event name."""

    name: str  # of its folder and its comment: "pull_requests" for the event pull_request
    variables: Mapping[str, object]  # its facts as type hints: {"issue": Issue}; what every family has is added
    samples: Callable[[], Iterable[tuple[str, Mapping[str, object]]]]  # (name, all variables, the common ones too)
    comment_variables: Mapping[str, object] = field(default_factory=dict)  # hints of what only comment templates see
    actions: frozenset[str] = frozenset()  # that GitHub sends for the event; empty: not checked
    replies: frozenset[str] = frozenset(REPLY_TYPES)  # reply types that its handler can make something of

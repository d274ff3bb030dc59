"""Properties of an event family (the events of one handler) that the prompt library needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from hls_handler.analysis import REPLY_TYPES


@dataclass(frozen=True, slots=True)
class Family:
    """Template variables, recorded samples and allowed reply types of one event. A library gets one per event name."""

    name: str  # as in the folder and the comment: "pull_requests" for the event pull_request
    variables: Mapping[str, object]  # type hints: {"issue": Issue}; without COMMON
    samples: Callable[[], Iterable[tuple[str, Mapping[str, object]]]]  # (name, all variables, including COMMON)
    comment_variables: Mapping[str, object] = field(
        default_factory=dict
    )  # type hints of variables for comment templates only
    actions: frozenset[str] = frozenset()  # that GitHub sends for the event; empty: not checked
    replies: frozenset[str] = frozenset(REPLY_TYPES)  # reply types that the handler supports

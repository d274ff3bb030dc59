"""Selection of the requests that a fault applies to."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hls_handler.sandbox.faults import Fault, Faults, StandIn


def effects(faults: Faults, *requests: tuple[StandIn, str, str]) -> list[str | None]:
    taken = (faults.take(stand_in, method, path) for stand_in, method, path in requests)
    return [fault.effect if fault else None for fault in taken]


GET: tuple[StandIn, str, str] = ("github", "GET", "/user")
POST: tuple[StandIn, str, str] = ("github", "POST", "/repos/o/r/labels")
ASK: tuple[StandIn, str, str] = ("claude", "POST", "/v1/messages")


def test_a_fault_applies_to_one_request_by_default() -> None:
    faults = Faults()
    faults.add(Fault(effect="drop"))
    assert effects(faults, GET, GET) == ["drop", None]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(effect="drop", times=None), ["drop", "drop", "drop"]),
        (Fault(effect="drop", times=None, stand_in="claude"), [None, None, "drop"]),
        (Fault(effect="drop", times=None, method="POST"), [None, "drop", "drop"]),
        (Fault(effect="drop", times=None, method="POST|GET"), ["drop", "drop", "drop"]),
        (Fault(effect="drop", times=None, method="P"), [None, None, None]),
        (Fault(effect="drop", times=None, path="/labels$"), [None, "drop", None]),
        (Fault(effect="drop", times=1, skip=1), [None, "drop", None]),
        (Fault(effect="drop", times=2), ["drop", "drop", None]),
    ],
)
def test_a_fault_matches_stand_in_method_and_path(fault: Fault, expected: list[str | None]) -> None:
    faults = Faults()
    faults.add(fault)
    assert effects(faults, GET, POST, ASK) == expected


def test_the_oldest_matching_fault_applies_until_it_is_exhausted() -> None:
    faults = Faults()
    faults.add(Fault(effect="drop"))
    faults.add(Fault(effect="garbage"))
    assert effects(faults, GET, GET, GET) == ["drop", "garbage", None]
    assert [(fault.effect, taken) for fault, taken in faults.rules] == [("drop", 1), ("garbage", 1)]


def test_cleared_faults_do_not_apply() -> None:
    faults = Faults()
    faults.add(Fault(effect="drop", times=None))
    faults.clear()
    assert effects(faults, GET) == [None]
    assert faults.rules == ()


@pytest.mark.parametrize(
    "given", [{"effect": "explode"}, {"effect": "drop", "path": "("}, {"effect": "drop", "times": 0}, {"odd": 1}]
)
def test_invalid_rules_are_rejected(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Fault.model_validate(given)

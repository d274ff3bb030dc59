"""The last look before bytes leave."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from hls_handler.clients.api import Api
from hls_handler.errors import LeaseLost
from tests.clients.fake_github import FakeGithub

ISSUE = "/repos/o/r/issues/7"
ANYTHING: TypeAdapter[object] = TypeAdapter(object)


class Looks:
    """Counts how often it is asked, and says no from the n-th time on."""

    def __init__(self, *, no_from: int | None = None) -> None:
        self.asked, self._no_from = 0, no_from

    def __call__(self) -> None:
        self.asked += 1
        if self._no_from is not None and self.asked >= self._no_from:
            raise LeaseLost("thawed too late")


@pytest.mark.parametrize("no_from", [1, 2], ids=["before the head", "between head and body"])
@pytest.mark.parametrize("connected", [False, True], ids=["fresh connection", "kept connection"])
def test_a_write_that_is_not_ours_any_more_never_reaches_github(
    api: Api, github: FakeGithub, no_from: int, connected: bool
) -> None:
    if connected:
        github.issue = {"number": 7}
        api.get(ISSUE, ANYTHING)
    seen = len(github.calls)
    with pytest.raises(LeaseLost, match="thawed too late"):
        api.write("POST", f"{ISSUE}/labels", {"labels": ["bug"]}, still_ours=Looks(no_from=no_from))
    assert len(github.calls) == seen


def test_a_write_that_is_ours_goes_out_and_reads_are_not_asked_about(api: Api, github: FakeGithub) -> None:
    github.issue = {"number": 7}
    looks = Looks()
    api.write("POST", f"{ISSUE}/labels", {"labels": ["bug"]}, still_ours=looks)
    asked = looks.asked
    assert asked > 0
    api.get(ISSUE, ANYTHING)
    assert looks.asked == asked


def test_after_a_refused_write_the_same_client_goes_on(api: Api, github: FakeGithub) -> None:
    github.issue = {"number": 7}
    with pytest.raises(LeaseLost):
        api.write("POST", f"{ISSUE}/labels", {"labels": ["bug"]}, still_ours=Looks(no_from=1))
    assert api.get(ISSUE, ANYTHING) == {"number": 7}

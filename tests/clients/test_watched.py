"""The lease check right before bytes are sent."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from hls_handler.clients.api import GithubApi
from hls_handler.errors import LeaseLost
from tests.clients.fake_github import FakeGithub

ISSUE = "/repos/o/r/issues/7"
ANYTHING: TypeAdapter[object] = TypeAdapter(object)


class LeaseCheck:
    """Counts its calls, and raises from the n-th call on."""

    def __init__(self, *, fail_from: int | None = None) -> None:
        self.calls, self._fail_from = 0, fail_from

    def __call__(self) -> None:
        self.calls += 1
        if self._fail_from is not None and self.calls >= self._fail_from:
            raise LeaseLost("the lease is lost")


@pytest.mark.parametrize("fail_from", [1, 2], ids=["before the head", "between head and body"])
@pytest.mark.parametrize("connected", [False, True], ids=["fresh connection", "kept connection"])
def test_write_after_a_lost_lease_never_reaches_github(
    api: GithubApi, github: FakeGithub, fail_from: int, connected: bool
) -> None:
    if connected:
        github.issue = {"number": 7}
        api.get(ISSUE, ANYTHING)
    seen = len(github.calls)
    with pytest.raises(LeaseLost, match="the lease is lost"):
        api.write("POST", f"{ISSUE}/labels", {"labels": ["bug"]}, check_lease=LeaseCheck(fail_from=fail_from))
    assert len(github.calls) == seen


def test_lease_is_checked_for_writes_and_not_for_reads(api: GithubApi, github: FakeGithub) -> None:
    github.issue = {"number": 7}
    check = LeaseCheck()
    api.write("POST", f"{ISSUE}/labels", {"labels": ["bug"]}, check_lease=check)
    calls = check.calls
    assert calls > 0
    api.get(ISSUE, ANYTHING)
    assert check.calls == calls


def test_client_is_usable_after_a_stopped_write(api: GithubApi, github: FakeGithub) -> None:
    github.issue = {"number": 7}
    with pytest.raises(LeaseLost):
        api.write("POST", f"{ISSUE}/labels", {"labels": ["bug"]}, check_lease=LeaseCheck(fail_from=1))
    assert api.get(ISSUE, ANYTHING) == {"number": 7}

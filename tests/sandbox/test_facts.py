"""Facts without HTTP."""

from __future__ import annotations

import pytest

from hls_handler.errors import Permanent
from hls_handler.handlers.reader import ChangedFile, Reader
from hls_handler.sandbox import recorded
from hls_handler.sandbox.facts import SandboxReader
from hls_handler.sandbox.state import State

REPOSITORY = "Codertocat/Hello-World"


@pytest.fixture
def state() -> State:
    state = State()
    for name in ("demo/bug", "demo/feature", "issues.opened", "issues.deleted"):
        one = recorded.load(name)
        state.plant(one.event, one.payload)
    return state


def test_an_issue_is_read_with_the_labels_of_now(state: State) -> None:
    reader: Reader = SandboxReader(state, REPOSITORY)
    thread = state.thread(REPOSITORY, 11)
    assert thread is not None
    state.add_labels(thread, ("bug",))
    issue = reader.issue(11)
    assert (issue.number, issue.user.login, issue.state) == (11, "octocat", "open")
    assert [label.name for label in issue.labels] == ["bug"]


def test_a_pull_request_is_read_with_its_files(state: State) -> None:
    reader = SandboxReader(state, REPOSITORY)
    pull = reader.pull_request(13)
    assert (pull.head_ref, pull.base_ref, pull.changed_files, pull.commits) == ("discount-codes", "master", 8, 3)
    files = reader.files(13)
    assert len(files) == 8
    assert files[0] == ChangedFile("assets/coupon.png", None, "added", 0, 0, None)
    assert (files[5].path, files[5].previous_path, files[5].status) == (
        "shop/money.py",
        "shop/price_utils.py",
        "renamed",
    )


def test_a_pull_request_is_an_issue_too(state: State) -> None:
    assert SandboxReader(state, REPOSITORY).issue(13).title == "Add discount codes to the checkout"


@pytest.mark.parametrize(
    ("number", "said"), [(99, "is not in the sandbox"), (1, "is not in the sandbox"), (11, "is an issue, not")]
)
def test_what_is_not_there_is_permanent(state: State, number: int, said: str) -> None:
    with pytest.raises(Permanent, match=said):
        SandboxReader(state, REPOSITORY).files(number)

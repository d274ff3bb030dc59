"""What a push takes away is shown to the next review, and what may need it is read again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.handlers.world import open_github, pull_request
from tests.review.pushes import Pushes, found, said

VIEWS = "def show(name):\n    return find_user(name)\n"
GUARDED = "def show(name):\n    check_name(name)\n    return find_user(name)\n"
USERS = "def find_user(name):\n    return run(f'SELECT {name}')\n"
FAULT = found("users.py", 2, "    return run(f'SELECT {name}')")
BASE = {"views.py": VIEWS, "users.py": "", "other.py": ""}


def guarded() -> Pushes:
    """A pull request with a fault in one file and its guard in another one, which was reviewed."""
    pushes = Pushes(base=BASE)
    assert pushes.push({"users.py": USERS, "views.py": GUARDED}) == "success"
    return pushes


def removed(pushes: Pushes) -> dict[str, list[str]]:
    """The numbered lines that the last prompt showed as removed."""
    hunks = pushes.shown["removals"].hunks
    return {hunk.path: [line for line in hunk.text.split("\n") if " - " in line] for hunk in hunks}


def again(pushes: Pushes) -> dict[str, list[int]]:
    files: Any = pushes.shown["files"]
    return {file.path: [line.first for line in file.again] for file in files if file.again}


def test_a_push_that_only_removes_a_guard_is_asked_about_with_what_needs_it() -> None:
    pushes = guarded()
    assert pushes.push({"users.py": USERS}, findings=[FAULT]) == "failure"
    assert pushes.calls == 2
    assert removed(pushes) == {"views.py": ["L    2 -     check_name(name)"]}
    assert again(pushes) == {"users.py": [1]}
    assert pushes.comments == [("users.py", 2)]


def test_a_guard_that_becomes_another_call_is_shown_as_removed() -> None:
    pushes = guarded()
    logged = GUARDED.replace("check_name", "log")
    assert pushes.push({"users.py": USERS, "views.py": logged}, findings=[FAULT]) == "failure"
    assert removed(pushes) == {"views.py": ["L    2 -     check_name(name)"]}
    assert again(pushes) == {"users.py": [1]}


def test_a_line_that_a_moved_function_loses_is_shown_as_removed() -> None:
    function = "def drop(user):\n    require(user, 'admin')\n    user.delete()\n"
    pushes = Pushes(base={"a.py": function, "b.py": ""})
    pushes.push({"a.py": "", "b.py": function})
    pushes.push({"a.py": "", "b.py": function.replace("    require(user, 'admin')\n", "")})
    assert removed(pushes) == {"b.py": ["L    2 -     require(user, 'admin')"]}


def test_a_removal_too_long_to_show_names_what_needs_it() -> None:
    before = "".join(f"def middleware_{number}(): pass\n" for number in range(200))
    pushes = Pushes(base=BASE)
    assert pushes.push({"users.py": USERS, "middleware.py": f"{before}{GUARDED}"}) == "success"
    assert pushes.push({"users.py": USERS}, findings=[FAULT]) == "failure"
    assert (removed(pushes), pushes.shown["removals"].unshown) == ({}, 1)
    assert again(pushes) == {"users.py": [1]}


def test_without_the_last_head_the_blocks_of_the_file_are_shown_again() -> None:
    pushes = Pushes(base=BASE)
    pushes.push({"users.py": USERS, "views.py": f"{GUARDED}\nCOUNT = 1\n"})
    pushes.github = open_github(pull_request())
    pushes.push({"users.py": USERS, "views.py": f"{VIEWS}\nCOUNT = 1\n"})
    assert pushes.calls == 2
    assert pushes.shown["removals"].unknown == ("views.py",)
    assert again(pushes) == {"views.py": [4]}


def test_lines_that_the_base_removes_are_not_shown() -> None:
    base = f"old_limit = 1\n{VIEWS}"
    pushes = Pushes(base={"views.py": base, "users.py": ""})
    pushes.push({"users.py": USERS, "views.py": f"old_limit = 1\n{GUARDED}"})
    pushes.push({"users.py": USERS, "views.py": GUARDED}, base=BASE)
    assert pushes.calls == 1


def test_a_removal_without_a_reply_is_shown_at_the_next_push() -> None:
    pushes = guarded()
    assert pushes.push({"users.py": USERS}, is_down=True) != "success"
    pushes.push({"users.py": USERS, "other.py": "COUNT = 1\n"})
    assert removed(pushes) == {"views.py": ["L    2 -     check_name(name)"]}


def test_a_fault_of_the_file_that_lost_a_line_counts_without_a_changed_line() -> None:
    pushes = guarded()
    fault = found("views.py", 2, "    check_name(name)", side="LEFT")
    assert pushes.push({"users.py": USERS}, findings=[fault]) == "failure"


@pytest.mark.parametrize("path", ["private/plan.py", "yarn.lock"])
def test_a_file_that_is_left_out_is_not_shown_for_a_line_of_another_file(path: str) -> None:
    pushes = Pushes(base={**BASE, path: GUARDED}, ignored=["private/**"])
    pushes.push({"users.py": USERS, "views.py": GUARDED})
    pushes.push({"users.py": USERS, path: VIEWS})
    assert removed(pushes) == {"views.py": ["L    2 -     check_name(name)"]}


def test_removed_credentials_are_redacted() -> None:
    pushes = Pushes(base={"a.py": "", "b.py": ""})
    pushes.push({"a.py": f'TOKEN = "ghp_{"a1B2" * 9}"\n', "b.py": "X = 1\n"})
    pushes.push({"b.py": "X = 1\n"})
    assert removed(pushes) == {"a.py": ['L    1 - TOKEN = "[redacted: github-token]"']}


def test_rule_10_a_key_that_begins_above_removed_lines_is_redacted() -> None:
    data = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2"
    key = ["-----BEGIN PRIVATE KEY-----", *[data] * 8, "-----END PRIVATE KEY-----"]
    pushes = Pushes(base={"key.txt": "", "b.py": ""})
    pushes.push({"key.txt": "\n".join([*key, "COUNT = 1", ""]), "b.py": "X = 1\n"})
    pushes.push({"key.txt": "\n".join([*key, ""]), "b.py": "X = 1\n"})
    (hunk,) = pushes.shown["removals"].hunks
    assert "R    9   [redacted: private-key]\nR   10   [redacted: private-key]\n" in hunk.text
    assert hunk.text.endswith("\nL   11 - COUNT = 1")


GUARD = "def handle(name):\n    assert name.isalnum()\n"


@pytest.mark.parametrize(
    "verdicts", [(), (said(1, "fixed", "views.py", 2, "    assert name.isalnum()"),)]
)
def test_a_fix_in_another_file_is_shown_until_the_finding_is_decided(verdicts: Any) -> None:
    """Its verdict was left out, or the second look refused it."""
    pushes = Pushes(base={"users.py": "", "views.py": "", "other.py": ""})
    assert pushes.push({"users.py": USERS}, findings=[FAULT]) == "failure"
    files = {"users.py": USERS, "views.py": GUARD}
    assert pushes.push(files, verdicts=verdicts, agrees=False) == "failure"
    fixed = said(1, "fixed", "views.py", 2, "    assert name.isalnum()")
    assert pushes.push({**files, "other.py": "X = 1\n"}, verdicts=[fixed]) == "success"
    assert again(pushes)["views.py"] == [1]


def test_a_proof_without_a_name_of_the_finding_is_shown_to_a_requested_review() -> None:
    pushes = Pushes(base={"users.py": "", "views.py": ""})
    assert pushes.push({"users.py": USERS}, findings=[FAULT]) == "failure"
    files = {"users.py": USERS, "views.py": "STRICT = True\n"}
    fixed = said(1, "fixed", "views.py", 1, "STRICT = True")
    assert pushes.push(files, verdicts=[fixed], agrees=False) == "failure"
    assert pushes.push(files, verdicts=[fixed], requested="new") == "success"
    assert again(pushes) == {"views.py": [1]}

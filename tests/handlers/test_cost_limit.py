"""A pull request at `review.max_usd_per_pull_request`: what people see, and how they go on.

Each call costs 0.00014 USD, and the estimate before it is 0.05 USD.
"""

from __future__ import annotations

from tests.conftest import Acts
from tests.handlers.conftest import OpenHome
from tests.handlers.conversation import REPOSITORY, Talk, changed_file
from tests.handlers.world import PATCH, finding

WAY_ON = "`/review` of a person with write permission continues for one more review."
AT_LIMIT = f"This pull request has reached its limit on cost. {WAY_ON}"
PARTLY = (
    f"This review was only partly done when the pull request reached its limit on cost. {WAY_ON}"
)
LIMIT = {"max_usd_per_pull_request": 0.0501}


def summary(pull: Talk) -> str:
    """Return what the check says below its title."""
    run = pull.home.state.world.check_runs_on(REPOSITORY, pull.now.head_sha)[-1]
    return str(run["output"]["summary"])


def test_pull_request_at_its_limit_continues_once_by_a_review_of_a_writer(
    opened: OpenHome, acts: Acts
) -> None:
    def push(pull: Talk, number: int) -> str:
        """Push a commit that changes a line again."""
        patch = PATCH.replace("** 2", f"** {number}")
        return pull.push(str(number) * 40, changed_file(patch=patch))

    home = opened(review=LIMIT)
    home.state.set_permission(REPOSITORY, "mona", "write")
    home.state.set_permission(REPOSITORY, "otto", "read")
    pull = home.review()
    assert pull.check == "success: 1 of 1 file reviewed"
    assert pull.shown() == "size/small type/bug-fix"  # no comment

    push(pull, 3)
    assert pull.check == "neutral: 0 of 1 file reviewed"
    assert summary(pull).startswith(
        f"0 of 1 file that needs a review was reviewed as a whole.\n\n{AT_LIMIT}\n\n"
    )
    commit = f"[`3333333333`](https://github.com/octo/hello/commit/{'3' * 40})"
    assert pull.shown() == (
        f"size/small type/bug-fix\n--\nSquares.\n{commit} was not reviewed.\n{AT_LIMIT}\n"
        "Not reviewed: `area.py` (the pull request has reached its limit on cost).\n"
        "Other places of the repository were not read: the test has no such commit."
    )
    assert (
        "the budget of the pull request allows no further call: 0.0001 USD spent, 0.0000 USD"
        " reserved by calls in progress, this call needs up to 0.0500 USD, limit 0.0501 USD"
        " (settings (repositories[0].review.max_usd_per_pull_request)); /review of a person with"
        " write permission continues for one more review; or raise that limit, then push"
    ) in home.why

    refused = "ignored: otto has the permission read, and commands need write permission"
    assert pull.comment("/review", by="otto") == refused
    assert (home.world.find_due(), acts()) == (None, [])

    assert "a review of what is new was requested" in pull.comment("/review")
    home.process()
    assert pull.check == "success: 1 of 1 file reviewed"
    ((person, act, (pull_request, guid)),) = acts()
    assert (person, act, pull_request) == ("mona", "review", "octo/hello#8")
    row = home.world.row(guid)
    assert (row.event, row.request_id) == ("pull_request", "requested:review:4")

    push(pull, 4)
    assert pull.check == "neutral: 0 of 1 file reviewed"
    assert len(home.questions) == 2
    assert len(acts()) == 1


def test_review_that_the_limit_ends_says_that_it_is_partly_done(opened: OpenHome) -> None:
    home = opened(review=LIMIT)
    pull = home.review(finding(confidence=0.6))
    assert len(home.questions) == 1  # the second look does not fit
    assert f"\n{PARTLY}\n" in pull.shown()
    assert f"\n\n{PARTLY}\n\nThe findings were not verified: the pull request has" in summary(pull)


def test_review_of_a_part_of_the_files_says_that_it_is_partly_done(opened: OpenHome) -> None:
    home = opened(review={**LIMIT, "verify": False})
    small = home.world.settings.claude.model_copy(update={"input_tokens": 9_000})
    home.world.settings = home.world.settings.model_copy(update={"claude": small})
    lines = "\n".join(f"+    area_{number} = side * {number}" for number in range(500))
    patch = f"@@ -0,0 +1,500 @@\n{lines}"
    files = [changed_file(f"{name}.py", patch=patch, additions=500, deletions=0) for name in "ab"]
    pull = home.review(files=files)
    assert pull.check == "neutral: 1 of 2 files reviewed"
    assert "\nOnly a part of " in pull.shown()
    assert f"\n{PARTLY}\n" in pull.shown()
    assert f"\n\n{PARTLY}" in summary(pull)

"""The bot's comment in a conversation of the sandbox, with sections of several sources, and
reactions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from hls_handler.actions import EnsureComment, Outcome, StoredComment
from hls_handler.errors import DependencyDown
from hls_sandbox.objects import Account, Comment
from hls_sandbox.state import BOT
from tests.github.review_world import MONA, NUMBER, REPOSITORY, ReviewWorld
from tests.github_fake.faults import Fault

COMMENTS = f"/repos/{REPOSITORY}/issues/{NUMBER}/comments"
COMMENT = f"/repos/{REPOSITORY}/issues/comments"
MARK = "<!-- hls:issues -->"
BODY = f"Looks like a bug.\n{MARK}"


def keep(
    world: ReviewWorld,
    body: str = "Looks like a bug.",
    *,
    create: bool = True,
    dry_run: bool = False,
    begin_write: Callable[[], None] = lambda: None,
) -> Outcome:
    writer = world.writer(begin_write, dry_run=dry_run)
    return writer.ensure_comment(NUMBER, EnsureComment("issues", body, create))


def comment(world: ReviewWorld) -> Comment:
    """Return the last comment."""
    return world.pull.comments[-1]


def bodies(world: ReviewWorld) -> list[str]:
    return [one.body for one in world.pull.comments]


def add(world: ReviewWorld, body: str, *, by: Account = MONA) -> int:
    return world.sandbox.state.create_comment(world.pull, body, by=by).id


def edit_by_hand(world: ReviewWorld, body: str) -> None:
    world.sandbox.state.edit_comment(world.pull, comment(world), body)


def test_nothing_is_sent_when_nothing_changed(world: ReviewWorld) -> None:
    keep(world)
    world.sandbox.requests.clear()
    changes = world.history.changes
    assert keep(world) == Outcome(
        *("comment", "unchanged", "our comment is up to date"),
        comment_id=comment(world).id,
        body=BODY,
    )
    assert world.calls() == []
    assert world.history.changes == changes


@pytest.mark.parametrize(
    "fault",
    [
        Fault(effect="drop_after", method="POST"),
        Fault(effect="garbage", method="POST"),
        Fault(effect="drop", method="POST"),
        Fault(effect="status", method="GET", status=503),
    ],
    ids=lambda fault: fault.effect,
)
def test_lost_response_does_not_cause_a_second_comment(world: ReviewWorld, fault: Fault) -> None:
    world.sandbox.faults.add(fault)
    with pytest.raises(DependencyDown):
        keep(world)
    assert keep(world).comment_id == comment(world).id
    assert bodies(world) == [BODY]
    assert comment(world).edits == ()
    assert world.history.known["issues"].comment_id == comment(world).id


def test_comment_deleted_by_a_person_is_not_posted_again(world: ReviewWorld) -> None:
    def delete_comments(world: ReviewWorld) -> None:
        world.sandbox.state.change(
            lambda now: now.with_conversation(replace(world.pull, comments=()))
        )

    keep(world)
    ours = comment(world).id
    delete_comments(world)
    world.sandbox.requests.clear()
    for _ in range(2):
        assert keep(world, "Again!") == Outcome(
            *("comment", "declined", "a person deleted our comment: it is not posted again"),
            comment_id=ours,
        )
    assert world.calls() == [f"GET {COMMENT}/{ours}"] * 2


def test_rule_16_copy_of_the_marker_by_another_account_is_ignored(world: ReviewWorld) -> None:
    add(world, f"ha\n{MARK}")
    assert keep(world).kind == "created"
    assert bodies(world) == [f"ha\n{MARK}", BODY]


def test_rule_16_other_comments_of_our_account_are_not_edited(world: ReviewWorld) -> None:
    def writes(world: ReviewWorld) -> list[str]:
        return [one.method for one in world.seen() if one.writes]

    for body in (
        "I am also a person.",
        f"A quote of {MARK} in the middle.",
        "Another family.\n<!-- hls:pull_requests -->",
    ):
        add(world, body, by=BOT)
    assert keep(world).kind == "created"
    assert writes(world) == ["POST"]


def test_our_comment_is_found_without_memory_after_a_rename_of_the_account(
    world: ReviewWorld,
) -> None:
    for number in range(220):
        add(world, f"comment {number}")
    ours = add(world, f"Old.\r\n{MARK}\n", by=replace(BOT, login="HLS-before"))
    add(world, "last")
    assert keep(world, "Old.").kind == "unchanged"
    assert keep(world, "New.").comment_id == ours
    assert world.calls()[:3] == [f"GET {COMMENTS}"] * 3
    assert world.history.known["issues"].comment_id == ours


def test_comment_without_its_marker_is_not_edited(world: ReviewWorld) -> None:
    keep(world)
    edit_by_hand(world, "Never mind the bot.")
    assert keep(world, "It is a bug.") == Outcome(
        *(
            "comment",
            "declined",
            "a person removed our marker from our comment: it is not edited any more",
        ),
        comment_id=comment(world).id,
    )
    assert bodies(world) == ["Never mind the bot."]


def test_rule_16_comment_by_the_previous_bot_account_is_ignored(world: ReviewWorld) -> None:
    previous = add(world, f"Old.\n{MARK}")
    world.history.known["issues"] = StoredComment(previous, "digest")
    assert keep(world).kind == "created"
    assert bodies(world) == [f"Old.\n{MARK}", BODY]


def test_without_create_only_an_existing_comment_is_edited(world: ReviewWorld) -> None:
    nothing = Outcome(
        "comment", "withheld", "nothing worth saying, and no existing comment to update"
    )
    assert keep(world, create=False) == nothing
    assert bodies(world) == []
    keep(world)
    assert keep(world, "It is a question.", create=False).kind == "edited"
    assert bodies(world) == [f"It is a question.\n{MARK}"]


def test_reaction_is_one_request_and_github_stores_it_once(world: ReviewWorld) -> None:
    number, writer = add(world, "/review"), world.writer()
    assert [writer.ensure_reaction(number, "eyes") for _ in range(2)] == ["reacted with eyes"] * 2
    assert writer.ensure_reaction(number, "+1", is_review_comment=True) == "reacted with +1"
    assert writer.ensure_reaction(5, "+1") == "a person deleted the comment, so it got no reaction"
    assert [(one.comment, one.content) for one in world.pull.reactions] == [
        (number, "eyes"),
        (number, "+1"),
    ]
    dry = world.writer(dry_run=True)
    assert dry.ensure_reaction(number, "+1") == "would have reacted with +1"
    paths = (
        f"issues/comments/{number}",
        f"issues/comments/{number}",
        f"pulls/comments/{number}",
        "issues/comments/5",
    )
    assert world.calls() == [f"POST /repos/{REPOSITORY}/{path}/reactions" for path in paths]


# --- sections of several sources
# -----------------------------------------------------------------------------

MARKER = "<!-- hls:reviews -->"
END = "<!-- hls:sections end -->"
SQUASH = "<!-- hls:section reviewer-1 26afacb62da7407a -->"  # the digest of "Please squash."
FINE = "<!-- hls:section reviewer-1 f56b5c106d7efae1 -->"  # of "Looks fine."
FAILS = "<!-- hls:section ci-2 d31aa9ad09852f94 -->"  # of "The build fails."
GREEN = "<!-- hls:section ci-2 5c408d54f23b159e -->"  # of "The build is green."
BOTH = f"{SQUASH}\nPlease squash.\n\n{FAILS}\nThe build fails.\n\n{END}\nFooter 2.\n{MARKER}"
THEIRS = "a person edited our comment, and there is nothing new to write"


def keep_section(
    world: ReviewWorld,
    section: str = "reviewer-1",
    body: str = "Please squash.",
    footer: str = "Footer 1.",
    *,
    create: bool = True,
) -> Outcome:
    action = EnsureComment("reviews", body, create, section=section, footer=footer)
    return world.writer().ensure_comment(NUMBER, action)


def keep_both(world: ReviewWorld) -> Outcome:
    keep_section(world)
    return keep_section(world, "ci-2", "The build fails.", "Footer 2.")


def test_edit_of_a_section_by_a_person_stays_until_its_source_changes(world: ReviewWorld) -> None:
    keep_both(world)
    by_hand = BOTH.replace("Please squash.", "Squash,\n\n  please.\n").replace("\n", "\r\n")
    edit_by_hand(world, by_hand)
    same = keep_section(world)
    assert (same.kind, same.detail, same.body) == ("unchanged", THEIRS, by_hand)
    keep_section(world, "ci-2", "The build is green.", "Footer 4.")
    assert bodies(world) == [
        (
            f"{SQUASH}\nSquash,\r\n\r\n  please.\n\n{GREEN}\nThe build is green.\n\n{END}\nFooter"
            f" 4.\n{MARKER}"
        )
    ]
    keep_section(world, body="Looks fine.", footer="Footer 5.")
    assert bodies(world) == [
        f"{FINE}\nLooks fine.\n\n{GREEN}\nThe build is green.\n\n{END}\nFooter 5.\n{MARKER}"
    ]


def test_section_without_text_is_removed(world: ReviewWorld) -> None:
    keep_both(world)
    assert keep_section(world, body="", footer="Footer 3.", create=False).kind == "edited"
    assert bodies(world) == [f"{FAILS}\nThe build fails.\n\n{END}\nFooter 3.\n{MARKER}"]
    assert (
        keep_section(world, body="", footer="Footer 3.", create=False).detail
        == "our comment is up to date"
    )


@pytest.mark.parametrize(
    ("section", "resolved"),
    [
        (
            "**Review by `mona`**\n\n- [ ] Squash (`a.py`)\n\n  > squash it\n- [ ] Test it",
            "Everything that was listed here is resolved:\n\n- Squash (`a.py`)\n- Test it",
        ),
        (
            "**Review by `mona`**\n\nNot read: 1 comment.",
            "Everything that was listed here is resolved:\n\n- **Review by `mona`**",
        ),
        (
            "- [ ] **Needed:** ask @octo/all, fixes #1 <b>x ![a](https://x.example/a.png)\n- [x] > q",
            (
                "Everything that was listed here is resolved:\n\n- **Needed:** ask @\u200bocto/all,"
                " fixes\u200b #1 &lt;b>x [image: a](https://x.example/a.png)\n- > q"
            ),
        ),
    ],
)
def test_comment_without_sections_says_what_was_resolved_until_the_next_section(
    world: ReviewWorld, section: str, resolved: str
) -> None:
    keep_section(world, body=section)
    keep_section(world, body="", create=False)
    assert bodies(world) == [f"{resolved}\n\n{END}\nFooter 1.\n{MARKER}"]
    keep_section(world)
    assert bodies(world) == [f"{SQUASH}\nPlease squash.\n\n{END}\nFooter 1.\n{MARKER}"]

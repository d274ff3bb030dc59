"""The bot's comment in a conversation, with sections of several sources, and reactions, over real HTTP."""

from __future__ import annotations

import pytest

from hls_handler.actions import EnsureComment, Outcome, StoredComment
from hls_handler.clients.api import GithubApi
from hls_handler.clients.github import Github
from hls_handler.errors import DependencyDown
from tests.clients.conftest import Keep, make_writer
from tests.clients.fake_github import HLS, MALLORY, FakeGithub, Fault
from tests.clients.fake_history import FakeHistory
from tests.clients.test_labels import WriteSlots

COMMENTS = "/repos/o/r/issues/7/comments"
FIRST = "/repos/o/r/issues/comments/1000"
MARK = "<!-- hls:issues -->"
URL = "https://github.com/o/r/issues/7#issuecomment-1000"


@pytest.fixture
def keep(api: GithubApi, history: FakeHistory) -> Keep:
    def keep(
        body: str = "Looks like a bug.", *, create: bool = True, slots: WriteSlots | None = None, dry_run: bool = False
    ) -> Outcome:
        writer = make_writer(Github(api), history, slots or WriteSlots(), dry_run=dry_run)
        return writer.ensure_comment(7, EnsureComment("issues", body, create))

    return keep


def test_first_comment_ends_with_the_marker(keep: Keep, history: FakeHistory, github: FakeGithub) -> None:
    slots = WriteSlots()
    body = f"Looks like a bug.\n{MARK}"
    assert keep(slots=slots) == Outcome("comment", "created", "commented", comment_id=1000, url=URL, body=body)
    assert github.calls == [f"GET {COMMENTS}", f"POST {COMMENTS}"]
    assert github.bodies() == [body]
    assert history.known["issues"].comment_id == 1000
    assert slots.taken == 1


def test_nothing_is_written_when_nothing_changed(keep: Keep, history: FakeHistory, github: FakeGithub) -> None:
    slots = WriteSlots()
    keep()
    github.seen.clear()
    changes = history.changes
    assert keep(slots=slots) == Outcome(
        *("comment", "unchanged", "our comment is up to date"),
        comment_id=1000,
        body=f"Looks like a bug.\n{MARK}",
    )
    assert github.calls == []
    assert (slots.taken, history.changes) == (0, changes)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", COMMENTS, "drop", after=True),
        Fault("POST", COMMENTS, status=201, body={"id": "?"}, after=True),
        Fault("POST", COMMENTS, "drop"),
        Fault("GET", COMMENTS, status=503),
    ],
    ids=lambda fault: f"{fault.verb} {fault.kind} {fault.status} {'after' if fault.after else 'before'}",
)
def test_lost_response_does_not_cause_a_second_comment(
    keep: Keep, history: FakeHistory, github: FakeGithub, fault: Fault
) -> None:
    github.faults = [fault]
    with pytest.raises(DependencyDown):
        keep()
    outcome = keep()
    assert outcome.comment_id == 1000
    assert github.bodies() == [f"Looks like a bug.\n{MARK}"]
    assert github.events == ["commented"]
    assert history.known["issues"].comment_id == 1000


@pytest.mark.parametrize("after", [True, False])
def test_edit_with_lost_response_is_not_made_twice(
    keep: Keep, history: FakeHistory, github: FakeGithub, after: bool
) -> None:
    keep()
    github.faults = [Fault("PATCH", FIRST, "drop", after=after)]
    with pytest.raises(DependencyDown):
        keep("It is a bug.")
    assert keep("It is a bug.").kind == ("unchanged" if after else "edited")
    assert github.events == ["commented", "edited"]
    assert keep().kind == "edited"  # the history has the last written digest


def test_comment_deleted_by_a_person_is_not_posted_again(keep: Keep, github: FakeGithub) -> None:
    keep()
    github.comments.clear()
    github.seen.clear()
    for _ in range(2):
        assert keep("Again!") == Outcome(
            *("comment", "declined", "a person deleted our comment: it is not posted again"), comment_id=1000
        )
    assert github.calls == [f"GET {FIRST}"] * 2
    assert github.comments == []


def test_rule_16_copy_of_the_marker_by_another_account_is_ignored(keep: Keep, github: FakeGithub) -> None:
    joke = github.add_comment(MALLORY, f"ha\n{MARK}")
    outcome = keep()
    assert (outcome.kind, outcome.comment_id) == ("created", joke + 1)
    assert github.bodies()[0] == f"ha\n{MARK}"


def test_rule_16_other_comments_of_our_account_are_not_edited(keep: Keep, github: FakeGithub) -> None:
    github.add_comment(HLS, "I am also a person.")
    github.add_comment(HLS, f"A quote of {MARK} in the middle.")
    github.add_comment(HLS, "Another family.\n<!-- hls:pull_requests -->")
    assert keep().kind == "created"
    assert github.events.count("edited") == 0


def test_our_comment_is_found_without_memory_after_a_rename_of_the_account(
    keep: Keep, history: FakeHistory, github: FakeGithub
) -> None:
    for number in range(220):
        github.add_comment(MALLORY, f"comment {number}")
    ours = github.add_comment({**HLS, "login": "HLS-before"}, f"Old.\r\n{MARK}\n")
    github.add_comment(MALLORY, "last")
    assert keep("Old.").kind == "unchanged"
    assert keep("New.").comment_id == ours
    assert github.calls[:3] == [f"GET {COMMENTS}"] * 3
    assert history.known["issues"].comment_id == ours


def test_comment_edited_by_a_person_is_replaced_only_by_new_text(keep: Keep, github: FakeGithub) -> None:
    keep()
    github.comments[0]["body"] = f"Fixed a typo.\n{MARK}"
    assert keep().kind == "unchanged"
    assert github.bodies() == [f"Fixed a typo.\n{MARK}"]
    assert keep("It is a bug.").kind == "edited"
    assert github.bodies() == [f"It is a bug.\n{MARK}"]


@pytest.mark.parametrize("memory_is_lost", [False, True])
def test_box_checked_by_a_person_causes_no_write(
    keep: Keep, history: FakeHistory, github: FakeGithub, memory_is_lost: bool
) -> None:
    keep("- [ ] squash\n- [ ] squash")
    checked = f"- [ ] squash\n- [x] squash\n{MARK}"
    github.comments[0]["body"] = checked
    if memory_is_lost:
        history.known.clear()
    for _ in range(2):
        outcome = keep("- [ ] squash\n- [ ] squash")
        assert (outcome.kind, outcome.detail) == ("unchanged", "our comment is up to date")
    assert (github.events, github.bodies()) == (["commented"], [checked])


def test_comment_without_its_marker_is_not_edited(keep: Keep, github: FakeGithub) -> None:
    keep()
    github.comments[0]["body"] = "Never mind the bot."
    assert keep("It is a bug.") == Outcome(
        *("comment", "declined", "a person removed our marker from our comment: it is not edited any more"),
        comment_id=1000,
    )
    assert github.bodies() == ["Never mind the bot."]


def test_rule_16_comment_by_the_previous_bot_account_is_ignored(
    keep: Keep, history: FakeHistory, github: FakeGithub
) -> None:
    github.add_comment(MALLORY, f"Old.\n{MARK}")
    history.known["issues"] = StoredComment(1000, "digest")
    assert keep().comment_id == 1001
    assert github.bodies()[0] == f"Old.\n{MARK}"


def test_without_create_only_an_existing_comment_is_edited(keep: Keep, github: FakeGithub) -> None:
    assert keep(create=False) == Outcome(
        "comment", "withheld", "nothing worth saying, and no existing comment to update"
    )
    assert github.events == []
    keep()
    assert keep("It is a question.", create=False).kind == "edited"
    assert github.bodies() == [f"It is a question.\n{MARK}"]


def test_dry_run_decides_and_writes_nothing(keep: Keep, history: FakeHistory, github: FakeGithub) -> None:
    body = f"Looks like a bug.\n{MARK}"
    assert keep(dry_run=True) == Outcome("comment", "dry_run", "would have commented", body=body)
    assert github.events == []
    keep()
    github.seen.clear()
    changes = history.changes
    assert keep("News.", dry_run=True) == Outcome(
        *("comment", "dry_run", "would have edited our comment"), comment_id=1000, body=f"News.\n{MARK}"
    )
    assert keep(dry_run=True).kind == "unchanged"
    assert github.calls == [f"GET {FIRST}"]
    assert history.changes == changes


def test_reaction_is_one_request_and_github_stores_it_once(api: GithubApi, github: FakeGithub) -> None:
    number, writer = github.add_comment(MALLORY, "/review"), make_writer(Github(api), FakeHistory())
    assert [writer.ensure_reaction(number, "eyes") for _ in range(2)] == ["reacted with eyes"] * 2
    assert github.reactions == [(number, "eyes")]
    assert writer.ensure_reaction(number, "+1", is_review_comment=True) == "reacted with +1"
    assert writer.ensure_reaction(5, "+1") == "a person deleted the comment, so it got no reaction"
    paths = (f"issues/comments/{number}", f"issues/comments/{number}", f"pulls/comments/{number}", "issues/comments/5")
    assert github.calls == [f"POST /repos/o/r/{path}/reactions" for path in paths]
    dry = make_writer(Github(api), FakeHistory(), dry_run=True)
    assert (dry.ensure_reaction(number, "+1"), len(github.calls)) == ("would have reacted with +1", 4)


# --- sections of several sources -----------------------------------------------------------------------------------

MARKER = "<!-- hls:reviews -->"
END = "<!-- hls:sections end -->"
SQUASH = "<!-- hls:section reviewer-1 26afacb62da7407a -->"  # the digest of "Please squash."
FINE = "<!-- hls:section reviewer-1 f56b5c106d7efae1 -->"  # of "Looks fine."
FAILS = "<!-- hls:section ci-2 d31aa9ad09852f94 -->"  # of "The build fails."
GREEN = "<!-- hls:section ci-2 5c408d54f23b159e -->"  # of "The build is green."
BOTH = f"{SQUASH}\nPlease squash.\n\n{FAILS}\nThe build fails.\n\n{END}\nFooter 2.\n{MARKER}"
THEIRS = "a person edited our comment, and there is nothing new to write"


@pytest.fixture
def keep_section(api: GithubApi, history: FakeHistory) -> Keep:
    def keep_section(
        section: str = "reviewer-1",
        body: str = "Please squash.",
        footer: str = "Footer 1.",
        *,
        create: bool = True,
        slots: WriteSlots | None = None,
    ) -> Outcome:
        writer = make_writer(Github(api), history, slots or WriteSlots())
        return writer.ensure_comment(7, EnsureComment("reviews", body, create, section=section, footer=footer))

    return keep_section


def keep_both(keep_section: Keep) -> None:
    keep_section()
    keep_section("ci-2", "The build fails.", "Footer 2.")


def test_next_source_adds_its_section_before_the_one_footer(keep_section: Keep, github: FakeGithub) -> None:
    keep_section()
    github.seen.clear()
    edited = Outcome("comment", "edited", "edited our comment", comment_id=1000, url=URL, body=BOTH)
    assert keep_section("ci-2", "The build fails.", "Footer 2.") == edited
    assert github.calls == [f"GET {FIRST}", f"PATCH {FIRST}"]
    assert github.bodies() == [BOTH]


def test_edit_of_a_section_by_a_person_stays_until_its_source_changes(keep_section: Keep, github: FakeGithub) -> None:
    keep_both(keep_section)
    by_hand = BOTH.replace("Please squash.", "Squash,\n\n  please.\n").replace("\n", "\r\n")
    github.comments[0]["body"] = by_hand
    theirs = Outcome("comment", "unchanged", THEIRS, comment_id=1000, url=URL, body=by_hand)
    assert keep_section() == theirs
    keep_section("ci-2", "The build is green.", "Footer 4.")
    assert github.bodies() == [
        f"{SQUASH}\nSquash,\r\n\r\n  please.\n\n{GREEN}\nThe build is green.\n\n{END}\nFooter 4.\n{MARKER}"
    ]
    keep_section(body="Looks fine.", footer="Footer 5.")
    assert github.bodies() == [f"{FINE}\nLooks fine.\n\n{GREEN}\nThe build is green.\n\n{END}\nFooter 5.\n{MARKER}"]


def test_section_without_text_is_removed(keep_section: Keep, github: FakeGithub) -> None:
    keep_both(keep_section)
    assert keep_section(body="", footer="Footer 3.", create=False).kind == "edited"
    assert github.bodies() == [f"{FAILS}\nThe build fails.\n\n{END}\nFooter 3.\n{MARKER}"]
    assert keep_section(body="", footer="Footer 3.", create=False).detail == "our comment is up to date"


def test_comment_without_sections_says_so_until_the_next_section(keep_section: Keep, github: FakeGithub) -> None:
    keep_section()
    keep_section(body="", create=False)
    assert github.bodies() == [f"*There is nothing to report here any more.*\n\n{END}\nFooter 1.\n{MARKER}"]
    keep_section()
    assert github.bodies() == [f"{SQUASH}\nPlease squash.\n\n{END}\nFooter 1.\n{MARKER}"]


def test_section_deleted_by_a_person_returns_only_with_new_text(keep_section: Keep, github: FakeGithub) -> None:
    keep_both(keep_section)
    github.comments[0]["body"] = BOTH.replace("Please squash.\n\n", "")
    assert keep_section().detail == THEIRS  # its mark is still there
    assert keep_section(body="Looks fine.").kind == "edited"


def test_without_create_only_an_existing_section_is_edited(keep_section: Keep, github: FakeGithub) -> None:
    nothing = Outcome("comment", "withheld", "nothing worth saying, and no existing comment to update")
    assert keep_section(create=False) == nothing
    keep_section()
    nothing = Outcome("comment", "withheld", "nothing worth saying, and no existing section to update")
    withheld = keep_section("ci-2", "The build fails.", create=False)
    assert (withheld.kind, withheld.detail, withheld.comment_id) == ("withheld", nothing.detail, 1000)
    assert github.events == ["commented"]
    assert keep_section(body="Looks fine.", create=False).kind == "edited"
    assert github.bodies() == [f"{FINE}\nLooks fine.\n\n{END}\nFooter 1.\n{MARKER}"]


def test_boxes_of_a_section_stay_checked(keep_section: Keep, history: FakeHistory, github: FakeGithub) -> None:
    keep_section(body="- [ ] squash\n- [ ] rebase")
    keep_section("ci-2", "- [ ] squash\n- [ ] rebase")
    ours = "<!-- hls:section reviewer-1 {} -->\n{}\n\n"
    its = "<!-- hls:section ci-2 10e8cda04f9fd20e -->\n- [ ] squash\n- [ ] rebase\n\n"
    rest = f"{its}{END}\nFooter 1.\n{MARKER}"
    checked = ours.format("10e8cda04f9fd20e", "- [x] squash\n- [ ] rebase") + rest
    github.comments[0]["body"] = checked
    changes = history.changes
    same = keep_section(body="- [ ] squash\n- [ ] rebase")
    assert (same.kind, same.detail, same.body) == ("unchanged", "our comment is up to date", checked)
    assert github.events.count("edited") == 1
    assert history.changes == changes
    keep_section(body="- [ ] squash\n- [ ] sign off")
    assert github.bodies() == [ours.format("372f926c8d849a26", "- [x] squash\n- [ ] sign off") + rest]
    assert keep_section(body="- [ ] squash\n- [ ] sign off").kind == "unchanged"

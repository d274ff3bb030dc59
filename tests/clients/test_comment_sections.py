"""The bot's comment with sections from several sources, over real HTTP."""

from __future__ import annotations

from hls_handler.actions import EnsureComment, Outcome
from hls_handler.clients.api import GithubApi
from hls_handler.clients.github import Github
from tests.clients.conftest import make_writer
from tests.clients.fake_github import FakeGithub
from tests.clients.fake_history import FakeHistory
from tests.clients.test_comments import COMMENTS, FIRST, URL
from tests.clients.test_labels import WriteSlots

MARKER = "<!-- hls:reviews -->"
END = "<!-- hls:sections end -->"
SQUASH = "<!-- hls:section reviewer-1 26afacb62da7407a -->"  # the digest of "Please squash."
FINE = "<!-- hls:section reviewer-1 f56b5c106d7efae1 -->"  # of "Looks fine."
FAILS = "<!-- hls:section ci-2 d31aa9ad09852f94 -->"  # of "The build fails."
GREEN = "<!-- hls:section ci-2 5c408d54f23b159e -->"  # of "The build is green."
BOTH = f"{SQUASH}\nPlease squash.\n\n{FAILS}\nThe build fails.\n\n{END}\nFooter 2.\n{MARKER}"
THEIRS = "a person edited our comment, and there is nothing new to write"


def keep(
    api: GithubApi,
    history: FakeHistory,
    section: str | None = "reviewer-1",
    body: str = "Please squash.",
    footer: str = "Footer 1.",
    *,
    create: bool = True,
    slots: WriteSlots | None = None,
    dry_run: bool = False,
) -> Outcome:
    writer = make_writer(Github(api), history, slots or WriteSlots(), dry_run=dry_run)
    return writer.ensure_comment(7, EnsureComment("reviews", body, create, section=section, footer=footer))


def keep_both(api: GithubApi, history: FakeHistory) -> None:
    keep(api, history)
    keep(api, history, "ci-2", "The build fails.", "Footer 2.")


def test_first_source_creates_the_comment(api: GithubApi, github: FakeGithub) -> None:
    history, slots = FakeHistory(), WriteSlots()
    body = f"{SQUASH}\nPlease squash.\n\n{END}\nFooter 1.\n{MARKER}"
    made = Outcome("comment", "created", "commented", comment_id=1000, url=URL, body=body)
    assert keep(api, history, slots=slots) == made
    assert github.calls == [f"GET {COMMENTS}", f"POST {COMMENTS}"]
    assert github.bodies() == [body]
    assert (history.known["reviews"].comment_id, slots.taken) == (1000, 1)


def test_next_source_adds_its_section_before_the_one_footer(api: GithubApi, github: FakeGithub) -> None:
    history = FakeHistory()
    keep(api, history)
    github.seen.clear()
    edited = Outcome("comment", "edited", "edited our comment", comment_id=1000, url=URL, body=BOTH)
    assert keep(api, history, "ci-2", "The build fails.", "Footer 2.") == edited
    assert github.calls == [f"GET {FIRST}", f"PATCH {FIRST}"]
    assert github.bodies() == [BOTH]


def test_unchanged_text_of_a_source_writes_nothing(api: GithubApi, github: FakeGithub) -> None:
    history, slots = FakeHistory(), WriteSlots()
    keep_both(api, history)
    github.seen.clear()
    changes = history.changes
    same = Outcome("comment", "unchanged", "our comment is up to date", comment_id=1000, url=URL, body=BOTH)
    assert keep(api, history, footer="Another footer alone is no news.", slots=slots) == same
    assert github.calls == [f"GET {FIRST}"]
    assert (slots.taken, history.changes) == (0, changes)


def test_edit_of_a_section_by_a_person_stays_until_its_source_changes(api: GithubApi, github: FakeGithub) -> None:
    history = FakeHistory()
    keep_both(api, history)
    by_hand = BOTH.replace("Please squash.", "Squash,\n\n  please.\n").replace("\n", "\r\n")
    github.comments[0]["body"] = by_hand
    theirs = Outcome("comment", "unchanged", THEIRS, comment_id=1000, url=URL, body=by_hand)
    assert keep(api, history) == theirs
    keep(api, history, "ci-2", "The build is green.", "Footer 4.")
    assert github.bodies() == [
        f"{SQUASH}\nSquash,\r\n\r\n  please.\n\n{GREEN}\nThe build is green.\n\n{END}\nFooter 4.\n{MARKER}"
    ]
    keep(api, history, body="Looks fine.", footer="Footer 5.")
    assert github.bodies() == [f"{FINE}\nLooks fine.\n\n{GREEN}\nThe build is green.\n\n{END}\nFooter 5.\n{MARKER}"]


def test_section_without_text_is_removed(api: GithubApi, github: FakeGithub) -> None:
    history = FakeHistory()
    keep_both(api, history)
    assert keep(api, history, body="", footer="Footer 3.", create=False).kind == "edited"
    assert github.bodies() == [f"{FAILS}\nThe build fails.\n\n{END}\nFooter 3.\n{MARKER}"]
    assert keep(api, history, body="", footer="Footer 3.", create=False).detail == "our comment is up to date"


def test_comment_without_sections_says_so_until_the_next_section(api: GithubApi, github: FakeGithub) -> None:
    history = FakeHistory()
    keep(api, history)
    keep(api, history, body="", create=False)
    assert github.bodies() == [f"*There is nothing to report here any more.*\n\n{END}\nFooter 1.\n{MARKER}"]
    keep(api, history)
    assert github.bodies() == [f"{SQUASH}\nPlease squash.\n\n{END}\nFooter 1.\n{MARKER}"]


def test_section_deleted_by_a_person_returns_only_with_new_text(api: GithubApi, github: FakeGithub) -> None:
    history = FakeHistory()
    keep_both(api, history)
    github.comments[0]["body"] = BOTH.replace("Please squash.\n\n", "")
    assert keep(api, history).detail == THEIRS  # its mark is still there
    assert keep(api, history, body="Looks fine.").kind == "edited"


def test_without_create_only_an_existing_section_is_edited(api: GithubApi, github: FakeGithub) -> None:
    history = FakeHistory()
    nothing = Outcome("comment", "withheld", "nothing worth saying, and no existing comment to update")
    assert keep(api, history, create=False) == nothing
    keep(api, history)
    nothing = Outcome("comment", "withheld", "nothing worth saying, and no existing section to update")
    withheld = keep(api, history, "ci-2", "The build fails.", create=False)
    assert (withheld.kind, withheld.detail, withheld.comment_id) == ("withheld", nothing.detail, 1000)
    assert github.events == ["commented"]
    assert keep(api, history, body="Looks fine.", create=False).kind == "edited"
    assert github.bodies() == [f"{FINE}\nLooks fine.\n\n{END}\nFooter 1.\n{MARKER}"]


def test_boxes_checked_by_a_person_stay_checked(api: GithubApi, github: FakeGithub) -> None:
    history = FakeHistory()
    keep(api, history, body="- [ ] squash\n- [ ] rebase")
    keep(api, history, "ci-2", "- [ ] squash\n- [ ] rebase")
    ours = "<!-- hls:section reviewer-1 {} -->\n{}\n\n"
    its = "<!-- hls:section ci-2 10e8cda04f9fd20e -->\n- [ ] squash\n- [ ] rebase\n\n"
    rest = f"{its}{END}\nFooter 1.\n{MARKER}"
    checked = ours.format("10e8cda04f9fd20e", "- [x] squash\n- [ ] rebase") + rest
    github.comments[0]["body"] = checked
    changes = history.changes
    same = keep(api, history, body="- [ ] squash\n- [ ] rebase")
    assert (same.kind, same.detail, same.body) == ("unchanged", "our comment is up to date", checked)
    assert github.events.count("edited") == 1
    assert history.changes == changes
    keep(api, history, body="- [ ] squash\n- [ ] sign off")
    assert github.bodies() == [ours.format("372f926c8d849a26", "- [x] squash\n- [ ] sign off") + rest]
    assert keep(api, history, body="- [ ] squash\n- [ ] sign off").kind == "unchanged"

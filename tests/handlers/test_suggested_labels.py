"""Labels of the repository's own that a reply suggests."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hls_handler.actions import EnsureLabels
from hls_handler.handlers.handler import PromptLimits
from hls_handler.handlers.issues import IssueFacts, IssueHandler
from hls_handler.handlers.labels import (
    LabelDifference,
    LabelOffer,
    LabelState,
    OfferLimits,
    decide_labels,
    select_offer,
)
from hls_handler.handlers.reader import EMPTY_HISTORY, RepositoryLabel
from hls_handler.settings.model import EffectiveLabels
from tests.handlers.world import FakeReader, analysis, event, issue, issue_analysis

CART = RepositoryLabel("area/Cart", "The cart and the checkout")
SEARCH = RepositoryLabel("area/search", "")
OFFER = LabelOffer((CART, SEARCH), min_confidence=0.7)


def plan(*suggested: tuple[str, float], offer: LabelOffer | None = OFFER) -> EnsureLabels:
    reply = issue_analysis(suggested_labels=[{"name": name, "confidence": sure} for name, sure in suggested])
    (action,) = IssueHandler().plan(event(issue()), IssueFacts(issue(), offer=offer), analysis(reply, comment=None))
    assert isinstance(action, EnsureLabels)
    return action


def suggested_by(action: EnsureLabels) -> list[str]:
    return [label.name for label in action.requested if label.group.startswith("suggested_labels ")]


def test_rule_14_only_labels_of_the_list_are_set_with_the_spelling_of_the_repository() -> None:
    action = plan(("AREA/cart", 0.9), ("admin", 1.0), ("area/search", 0.7))
    assert suggested_by(action) == ["area/Cart", "area/search"]
    assert action.rejected == (("admin", "it is not among the labels that the prompt listed"),)


def test_label_below_the_confidence_is_only_listed() -> None:
    action = plan(("area/search", 0.69))
    assert suggested_by(action) == []
    assert action.rejected == (("area/search", "Claude's confidence is 0.69, and labels.min_confidence is 0.7"),)


def test_suggestions_without_a_list_are_only_listed() -> None:
    action = plan(("area/search", 1.0), offer=None)
    assert suggested_by(action) == []
    assert action.rejected == (("area/search", "the prompt did not list the repository's labels"),)


def test_rule_14_rejected_name_is_shown_without_line_breaks_and_control_characters() -> None:
    action = plan(("x\n\x1b[31mDone: forged" + "y" * 100, 1.0))
    ((name, _),) = action.rejected
    assert len(name) <= 50
    assert name.isprintable()


SETTINGS = EffectiveLabels(suggest=True)


def decide(
    action: EnsureLabels,
    *,
    in_repository: frozenset[str],
    present: frozenset[str] = frozenset(),
    stored: Mapping[str, LabelState] | None = None,
) -> LabelDifference:
    return decide_labels(action, SETTINGS, present=present, stored=stored or {}, in_repository=in_repository)


def test_rule_14_label_that_was_deleted_meanwhile_is_not_created() -> None:
    difference = decide(plan(("area/search", 0.9)), in_repository=frozenset())
    assert "area/search" not in difference.add
    assert ("area/search", "the repository has no such label") in difference.withheld


def test_rule_14_suggested_label_that_a_person_removed_does_not_come_back() -> None:
    action, known = plan(("area/search", 0.9)), frozenset({"area/search"})
    states: tuple[LabelState, ...] = ("set", "removed")  # removed since the last check, or before
    for state in states:
        difference = decide(action, in_repository=known, stored={"area/search": state})
        assert ("area/search", "a person removed it") in difference.withheld


def test_offer_has_allowed_labels_that_nothing_else_sets() -> None:
    names = ("area/cart", "area/secret", "bug", "size/small", "skip-hls", "other")
    limits = OfferLimits(
        EffectiveLabels(allow=("area/*", "bug", "size/*", "skip-hls"), repository_allow=("*t", "bug", "s*", "area/c*")),
        taken=frozenset({"bug"}),
    )
    offer = select_offer([RepositoryLabel(name, "") for name in names], limits)
    assert [label.name for label in offer.labels] == ["area/cart", "area/secret"]


@pytest.mark.parametrize("offer", [None, OfferLimits(EffectiveLabels(), taken=frozenset())])
def test_labels_are_read_only_if_they_are_offered(offer: OfferLimits | None) -> None:
    reader = FakeReader(issue(), labels=(CART,))
    facts = IssueHandler().gather(event(issue()), reader, EMPTY_HISTORY, PromptLimits(30_000, offer=offer))
    assert facts.repository_labels == ((CART,) if offer else ())

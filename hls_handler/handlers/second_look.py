"""The second look at findings that decide: which new findings and which claims about earlier ones it is asked about."""

from __future__ import annotations

from dataclasses import replace

from hls_handler.analysis import FindingVerdict, FindingVerdicts
from hls_handler.handlers.pull_request_facts import MAX_CHARS, Candidate, PullRequestFacts, show_excerpt
from hls_handler.review.ledger import is_failing
from hls_handler.review.positions import letters_of
from hls_handler.review.record import LedgerEntry

MAX_CANDIDATES = 40  # new findings of one review that get a second look
EXCERPT_TOKENS = 20_000  # of all candidates together
UNSURE = 0.7
"""Confidence below which a new finding gets a second look, and is dropped if a decisive fact is not shown."""


def list_candidates(facts: PullRequestFacts) -> tuple[Candidate, ...]:
    """Return what the second look decides about: new findings that would fail the check or are unsure, and claims."""
    patches, claims = facts.selection.patches, facts.found.claims
    raised = [entry for entry, _ in facts.found.raised if facts.review.verify]
    new = [one for one in raised if is_failing(one.severity, facts.fail_on) or one.confidence < UNSURE]
    new = [one for one in new if not one.form][:MAX_CANDIDATES]
    tokens = EXCERPT_TOKENS // max(len(new) + 2 * len(claims), 1)

    def to_candidate(entry: LedgerEntry, proof: str = "", claim: str = "") -> Candidate:
        own = show_excerpt(patches, entry.path, entry.side, entry.line, tokens)
        code = own if proof in own else f"{own}\n{proof}".strip("\n")
        return Candidate(
            entry.number, entry.path, entry.line or 0, entry.severity, entry.title, entry.body, code, claim
        )

    candidates = [*map(to_candidate, new)]
    for one in claims:
        text = f"{one.text} {one.path}, line {one.line.number}: {one.line.text.strip()[:MAX_CHARS]}"
        proof = show_excerpt(patches, one.path, one.line.side, one.line.number, tokens)
        candidates.append(to_candidate(one.entry, proof, text))
    return tuple(candidates)


def apply_second_look(facts: PullRequestFacts, verdicts: FindingVerdicts) -> PullRequestFacts:
    """Return the facts with the new findings to drop, and the earlier findings with a confirmed claim.

    Unknown numbers are ignored. If a finding has two verdicts, both must agree with the claim.
    """
    candidates = {one.number: one for one in list_candidates(facts)}
    entries = {entry.number: entry for entry in (*facts.found.ledger, *(one for one, _ in facts.found.raised))}
    dropped: set[str] = set()
    agreed: set[str] = set()
    for number, candidate in candidates.items():
        entry, own = entries[number], [one for one in verdicts.verdicts if one.number == number]
        proved = [one for one in own if _has_decisive_facts(one, candidate)]
        if candidate.claim and own and all(one in proved and one.agrees for one in own):
            agreed.add(entry.key)
        elif not candidate.claim and own and not proved and entry.confidence < UNSURE and entry.line is not None:
            dropped.add(entry.key)
    return replace(facts, dropped=frozenset(dropped), agreed=frozenset(agreed))


def _has_decisive_facts(verdict: FindingVerdict, candidate: Candidate) -> bool:
    """Return True if the second look was shown each line that decides about its subject."""
    shown = letters_of(candidate.code)
    quotes = [letters_of(fact.quote) for fact in verdict.facts if fact.is_decisive]
    return all(quote and quote in shown for quote in quotes) and (bool(quotes) or not candidate.claim)

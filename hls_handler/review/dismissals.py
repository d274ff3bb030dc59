"""Words in the replies of people that dismiss a finding, or take a dismissal back.

Words are searched in clauses: a negation in the clause turns a reason such as "by design" into its opposite. In doubt a
reply dismisses nothing, because people can also resolve the thread or react to the comment.
"""

from __future__ import annotations

import re

MAX_REPLY_CHARACTERS = 500  # a longer reply is a discussion; only its beginning is searched

REFUSALS = (
    r"won'?t ?(fix|do|change|correct|be (fixed|changed|corrected))",
    r"(will not|not going to|(does not|doesn't|no) needs? to) (be )?(fix|do|change|correct)(ed|d)?",
    r"(not|(is|was)n'?t) (really )?(a|an) (bug|issue|problem)",
    r"(don'?t|do not) (think|believe|see) [\w ']{0,20}\b(a bug|an issue|a problem)",
    r"no (bug|issue|problem) here",
    r"no (fix|change|action) (is )?(needed|required|necessary)",
    r"can(not|'?t) happen(?! again)",
    r"not (relevant|applicable)",
    r"nicht (beheben|ändern)",
    r"wird nicht (behoben|geändert)",
    r"no es un (error|problema)",
    r"ce n'est pas un (bug|problème)",
)
"""Words that dismiss a finding and contain their negation."""

REASONS = (
    r"false[- ](positive|alarm)",
    r"by design",
    r"works as designed",
    r"expected behaviou?r",
    r"(acceptable|accepted) risk",
    r"accept(ed)? (this|the|that) risk",
    r"(as|is|was|it'?s) intended(?! to)",
    r"intentional",
    r"on purpose",
    r"deliberate",
    r"n/a",
    r"out of scope",
    r"ignore (this|it)",
    r"disagree",
    r"falsch positiv",
    r"absicht(lich)?",
)
"""Words that dismiss a finding unless a negation is before them."""

ACCEPTANCES = (
    r"you('re| are) right",
    r"good (catch|point|find)",
    r"(i('ll| will)|let me|going to|will|please( do)?) (fix|change|address|correct)",
    r"must be (fixed|changed|corrected|addressed)",
    r"(fix|correct)(ing|ed)",
    r"my mistake",
    r"i was wrong",
    r"(it|this|that)('s| is) (really |indeed )?an? (actual |real )?(bug|defect|issue|problem)",
    r"(?<!not )(?<!n't )agreed?",
    r"behoben",
    r"stimmt(?! nicht)",
)
"""Words that accept a finding, also beside those of a dismissal: "It is out of scope to argue; fixed"."""


def _any_of(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(words)})\b", re.IGNORECASE)


DISMISSAL = _any_of((*REFUSALS, *REASONS))
ACCEPTANCE = _any_of(ACCEPTANCES)
NEGATION = re.compile(r"\b(not?|never|cannot|hardly|barely|dont|isnt|un|nicht|keine?|\w+n't)\b", re.IGNORECASE)
WHOLE_REPLY = re.compile(r"\W*((this|that) is )?invalid\W*", re.IGNORECASE)
"""A word that dismisses a finding only alone, because in a sentence it may describe the code."""

CLAUSE_END = re.compile(r"[.!;:,\n]|\b(?:so|because|but|and)\b", re.IGNORECASE)
QUESTION = re.compile(r"[^.!?\n]*\?")
QUOTED_LINE = re.compile(r"^\s*>.*$", re.MULTILINE)


def is_dismissal(text: str) -> bool:
    """Return True if the text of a reply says that the finding will not be fixed.

    Quoted lines and questions do not count. A reply that also accepts the finding does not dismiss it.
    """
    own = _own_words(text)
    if WHOLE_REPLY.fullmatch(own):
        return True
    return any(map(_dismisses, CLAUSE_END.split(own))) and not is_acceptance(own)


def is_acceptance(text: str) -> bool:
    """Return True if the text of a reply accepts the finding, which takes an earlier dismissal back."""
    return ACCEPTANCE.search(DISMISSAL.sub("", _own_words(text))) is not None


def _dismisses(clause: str) -> bool:
    found = DISMISSAL.search(clause)
    return found is not None and NEGATION.search(clause, 0, found.start()) is None


def _own_words(text: str) -> str:
    own = QUOTED_LINE.sub("", text)[:MAX_REPLY_CHARACTERS].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return QUESTION.sub("", own)

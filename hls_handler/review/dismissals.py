"""Words in the replies of people that dismiss a finding, or take a dismissal back.

A word such as "intentional" proves nothing: "None of this is intentional" agrees with the finding. Therefore only whole
phrases count, from the start of a sentence to its end or to an explanation. In doubt a reply dismisses nothing: people
can also resolve the thread or react to the comment, and a wrong dismissal hides a defect.
"""

from __future__ import annotations

import re

MAX_REASON_CHARACTERS = 500  # a longer reply is a discussion, which only a refusal dismisses

_LEAD = r"(?:(?:yes|no|nope|sorry|agreed)(?:,| ?[-–—]) ?)?"
_THIS_IS = r"(?:(?:this|that|it)(?:'s| is) (?:actually |clearly |an? |the )*)?"
_END = r"(?=,(?! (?:but|and)\b)|\.(?!\.)| ?(?:$|[!;:(–—]|- |because\b|since\b))"

REFUSAL = re.compile(
    rf"(?:^{_LEAD}|(?:[,–—-]|\b(?:but|and|so)) (?=(?:i|we|this|that|it)\b))"
    r"(?:(?:(?:i|we) )?(?:won'?t|will not)[ -]?fix"
    r"|(?:(?:i'?m|i am|we'?re|we are) )?not going to fix"
    r"|(?:(?:this|that|it) )?(?:won'?t|will not) be fixed"
    r"|wird nicht behoben)"
    rf"(?: (?:this|that|it))?(?: in this (?:pr|pull request))?{_END}",
    re.IGNORECASE,
)
"""Dismisses a finding also beside words that accept it: "Yes, it is a bug, but we won't fix it"."""

REASON = re.compile(
    rf"(?:^{_LEAD}|, so )"
    rf"(?:{_THIS_IS}(?:by design|intentional|deliberate|on purpose|false[- ]positive|not a bug(?=[.!]*$))"
    r"|(?:this|that|it) isn'?t a bug(?=[.!]*$)"
    r"|i (?:don'?t|do not) think (?:this|that|it)(?:'s| is) a bug(?=[.!]*$)"
    r"|(?:this|that|it) can(?:not|'?t) happen(?=:)"
    rf"|(?:das ist )?absicht){_END}",
    re.IGNORECASE,
)

WHOLE_REPLY = re.compile(
    rf"(?:{_LEAD}(?:{_THIS_IS}(?:intended|(?:expected|intended) behaviou?r|out of scope(?: for this pr)?)"
    r"|(?:(?:this|it) )?(?:works|is working|working) as (?:designed|intended)"
    r"|false alarm|n/a|i disagree|(?:please )?ignore this|we accept this risk"
    r"|no (?:fix|change) (?:needed|required)(?: here)?"
    r"|(?:this|that|it) (?:doesn'?t|does not) need to be fixed)"
    r"|(?:(?:this|that) is )?invalid)[.!]*",
    re.IGNORECASE,
)
"""Phrases that dismiss a finding only alone: "Expected behaviour: 404. Actual behaviour: 500" reports a defect."""

ACCEPTANCE = re.compile(
    r"\b(?:you('re| are) right"
    r"|good (catch|point|find)"
    r"|(i('ll| will)|let me|going to|will|please( do)?) (fix|change|address|correct|apply)"
    r"|will do|applied"
    r"|must be (fixed|changed|corrected|addressed)"
    r"|(fix|correct)(ing|ed)"
    r"|my mistake"
    r"|i was wrong"
    r"|(it|this|that)('s| is) (really |indeed )?an? ([\w-]+ )?(bug|defect|issue|problem|vulnerability)"
    r"|agreed?"
    r"|behoben"
    r"|stimmt(?! nicht))\b"
    r"|^done\b",
    re.IGNORECASE,
)
DENIAL = re.compile(r"\b(?:(?:wo|do|does|is)n'?t|(?:will|do|does|is|am|are) not|not going to|nicht)\b", re.IGNORECASE)
"""Words before an acceptance in its clause that deny it. Others, as in "No doubt it is a bug", do not."""

CONDITION = re.compile(r"\b(?:if|unless|until)\b", re.IGNORECASE)
CONTRAST = re.compile(r"\b(?:but|however|although|though|except|still)\b", re.IGNORECASE)
CLAUSE_END = re.compile(r"[.!;:,]|\b(?:so|because|but|and)\b", re.IGNORECASE)
SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n\s*\n")  # a single line break may be the wrapping of an e-mail
QUOTED_LINE = re.compile(r"^[ \t]*>.*$", re.MULTILINE)
CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)


def is_dismissal(text: str) -> bool:
    """Return True if the text of a reply says that the finding will not be fixed.

    Quoted text, code, questions and conditions do not count. A refusal decides alone; a reason dismisses nothing if the
    reply also accepts the finding or restricts what it says.
    """
    sentences = _split_own_words(text)
    reply = " ".join(sentences)
    statements = [sentence for sentence in sentences if "?" not in sentence and not CONDITION.search(sentence)]
    if WHOLE_REPLY.fullmatch(reply) or any(map(REFUSAL.search, statements)):
        return True
    if len(reply) > MAX_REASON_CHARACTERS or CONTRAST.search(reply) or is_acceptance(text):
        return False
    return any(map(REASON.search, statements))


def is_acceptance(text: str) -> bool:
    """Return True if the text of a reply accepts the finding, which takes an earlier dismissal back."""
    statements = (sentence for sentence in _split_own_words(text) if "?" not in sentence)
    return any(_accepts(clause.strip()) for statement in statements for clause in CLAUSE_END.split(statement))


def _accepts(clause: str) -> bool:
    found = ACCEPTANCE.search(clause)
    return found is not None and DENIAL.search(clause, 0, found.start()) is None


def _split_own_words(text: str) -> list[str]:
    """Return the sentences of the reply, each on one line, without quoted text and code."""
    own = QUOTED_LINE.sub("", CODE.sub("", text)).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").replace("**", "")
    sentences = (" ".join(sentence.split()) for sentence in SENTENCE_END.split(own))
    return [sentence for sentence in sentences if sentence]

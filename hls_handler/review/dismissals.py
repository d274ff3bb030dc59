"""Dismissals: how people say in the thread of a finding that it is not to be fixed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from hls_handler.github.values import ReviewThread
from hls_handler.untrusted.command_line import read_command_line

FIXED = "fixed"
"""Beginning of the key of a reply in the thread of a finding that is closed (`EnsureReply.key`)."""

OPEN_AGAIN = "open"
"""Beginning of the key of a reply in the thread of a finding that is open again."""

HINT = "hint"
"""Key of the reply to a person whose reply HLS does not understand."""

STILL_THERE = "still-there"
"""Key of the reply in a thread that a person resolved although its finding is still there."""

COMMAND = "command "
"""Beginning of the key of a dismissal by `/dismiss N`: "command 1a2b3c4d by mona", with the GUID of
the command.
"""

DELETED = "deleted "
"""Beginning of the key of a dismissal by deleting the finding's comment: "deleted 1a2b3c4d by
mona".
"""

UNDISMISSED = "undismissed "
"""Beginning of the key of `/undismiss N`, which makes the dismissals before it void: "undismissed
1a2b3c4d by mona".
"""

RESOLVED = "resolved by "
"""Beginning of the key of a dismissal by a resolved thread: "resolved by mona"."""

HOW = {
    COMMAND: "command",
    DELETED: "deleted comment",
    "comment deleted": "deleted comment",  # of earlier versions
    RESOLVED: "resolved thread",
    "thumbs down": "thumbs down",
}
"""How a person dismissed a finding, by the beginning of the key. All others are replies."""

ReplyKind = Literal["dismissal", "change", "other"]
"""What a reply says of a finding: it is not to be fixed; it will be or was fixed; neither, or HLS
does not know.
"""

WORDS = {
    "fix": "fix|change|update|adjust|refactor|rework|remove|rename|revert|replace|amend|improve|"
    "rewrite|simplify|address|correct|clean|move|drop|delete|switch|add|tweak|patch|handle",
    "fixed": "fixed|changed|updated|adjusted|refactored|reworked|removed|renamed|reverted|"
    "replaced|amended|improved|rewritten|rewrote|simplified|addressed|corrected|cleaned|moved|"
    "dropped|deleted|switched|added|tweaked|patched",
    "fixing": "fixing|changing|updating|adjusting|refactoring|reworking|removing|renaming|"
    "reverting|replacing|amending|improving|rewriting|simplifying|addressing|correcting|cleaning|"
    "moving|dropping|deleting|switching|adding|handling",
    "bug": "bug|issue|problem|concern|defect|error|race|race condition|leak|memory leak|"
    "regression|vulnerability|security issue|security problem|secret|credential|risk",
    "did": r"(?!need|(?:check|test|discuss|decid|want|look|us|intend|accept)ed)\w+ed|"
    "made|put|wrote",
    "it": "it|this|that",
    "keep": "keep|keeping|kept|leave|leaving|left",
    "empty": "empty|none|null|nil|undefined|zero|negative",
    "fine": "fine|ok|okay|safe|harmless",
    "finding": "finding|suggestion|comment|warning|report|review|analysis|bot|claude",
    "intended": "intended|designed|expected|documented",
    "purposely": "intentional|intentionally|deliberate|deliberately|purposely",
}
"""The words that a word in braces stands for in `DISMISSALS`, `CHANGES` and `AGREEMENTS`."""

DISMISSALS = """
will not {fix}; will not be {fixed}; will not be {fixing}; would not {fix}; should not {fix}
should not be {fixed}
not going to {fix}; not going to be {fixed}; not going to happen; not gonna {fix}; not gonna happen
no plans to {fix}
will not do; wontfix; rather not {fix}; do not want to {fix}; do not want to do; do not plan to do
do not intend to do
do not plan to {fix}; do not intend to {fix}; not planning to {fix}; ^not {fixing}; am not {fixing}
are not {fixing}
no change needed; no change required; no change necessary; no changes needed; no changes required
no fix needed; no fix required; no fix necessary; no action needed; no action required
needs no {fix}
does not need to {fix}; does not need to be {fixed}; does not need {fixing}; does not need {fix}
do not need to {fix}; do not see reason to {fix}; do not see need to {fix}; no reason to {fix}
no need to {fix}
do not think we need to {fix}; do not think {it} needs to be {fixed}
do not think {it} needs {fixing}
nothing to {fix}; nothing to do; nothing wrong; no need; not worth it; not worth the
not worth {fixing}; do not care
not {bug}; there is no {bug}; do not see {bug}; do not think {it} is {bug}
do not consider {it} {bug}
{purposely}; {purposely} {fixed}; {fixed} {purposely}; on purpose; {fixed} * on purpose
{fixed} the * on purpose
by design; is {intended}; as {intended}; ^intended; {intended} behavior; {intended} behaviour
what we want
supposed to work; how it should$; the whole point; {it} is the point
false positive; false alarm; {finding} is wrong; {finding} is incorrect; {finding} is invalid
{it} is {fine}; {fine} as is; good as is; works as is; code is correct; code is {fine}
{keep} as is; {keep} {it} as; {keep} {it} like; {keep} {it} unchanged; {keep} {it} the way
{keep} {it}$
out of scope; not in scope; beyond the scope; outside the scope; outside of the scope; unrelated to
not applicable; n/a; not relevant; irrelevant; does not apply; does not matter; known limitation
overkill; yagni
acceptable; accept {it}; accept the risk; accepted risk; risk accepted; live with {it}
live with the
can not happen; can never happen; never happens; will never happen; can not occur; impossible
unreachable
never reached; can not be {empty}; can never be {empty}; is never {empty}; are never {empty}
please ignore$; please ignore {it}$; can be ignored; ignore {it}$; ignore {it} please; declined
declining; dismissing
rejecting; nack
"""
"""Phrases that dismiss a finding, in the words of `_spell_out`. ^ and $ are the start and the end
of a clause.
"""

CHANGES = """
{fixed}; fix; fixes; ^{fixing}; am {fixing}; are {fixing}; be {fixing}; {fix} {it}
i {fix}; we {fix}; to {fix}; will {fix}; can {fix}; could {fix}; should {fix}; would {fix}
must {fix}
^{did}; i {did}; we {did}; i have {did}; we have {did}; i need to; we need to; i will *; we will *
will be *
will do; going to *; let me; let us; gonna; want to; plan to; todo; ^on it; am on it; on my list
^done; done$; done in; done with; ^handled; handled in *; pushed; committed; resolved; solved
implemented
^pushing; got rid of; get rid of; went away; ^used; ^uses; the new *
applied; taken care; taking care; looking into; working on; in progress; ptal; another look
any more; anymore; no longer; now; tomorrow; soon; later; asap; follow up
latest *; last commit; last push; new commit; new version; next *; separate *; the commit
see commit
another pr; another pull request; another issue; another commit; after the; after my; after rebase
once the
is gone; takes care; tonight
"""
"""Phrases that promise or report a change, or put the decision off. Such a reply never dismisses. *
is any word.
"""

AGREEMENTS = """
good catch; great catch; nice catch; good point; fair point; valid point; good find; nice find
good spot
well spotted; valid concern; you are right; you are correct; that is right; that is correct
makes sense
^agreed; i agree; my bad; my mistake; oops; thanks for catching
"""
"""Phrases that agree with a finding. They are promises unless "but" follows."""

DOUBTS = (
    "maybe|perhaps|unsure|not sure|wonder|doubt|guess|probably|possibly|hope|thought|seems"
    "|looks like|unclear|yet|until|before we|today|for the moment"
)
"""Words that make a sentence no dismissal."""

DENIALS = "not|never|no|hardly|nobody|nothing|if|unless|whether|might|may|could|should"
"""Words that turn a phrase behind them in the same clause into its opposite."""

CONTRACTIONS = {
    r"\bwon'?t\b": "will not",
    r"\bcan'?t\b|\bcannot\b": "can not",
    r"\b(is|are|was|do|does|did|should|would|could|need)n'?t\b": r"\1 not",
    r"\b(it|that|this|there|here)'?s\b": r"\1 is",
    r"'ll\b": " will",
    r"'d\b": " would",
    r"'ve\b": " have",
    r"'re\b": " are",
    r"\bi'm\b": "i am",
    r"-": " ",
    r"\b(?:an?|any(?! more)|real|really|actual|actually|just|simply|totally|completely|perfectly"
    r"|also|currently) ": "",
}
"""What `_spell_out` replaces, so that one phrase fits many replies."""


def _compile(phrases: str) -> re.Pattern[str]:
    """Return a pattern that matches any of the phrases, which stand between semicolons or on lines
    of their own.
    """
    found: list[str] = []
    # the longest fits first
    for phrase in sorted(re.split(r"; |\n", phrases.strip()), key=len, reverse=True):
        words = {key: f"(?:{alternatives})" for key, alternatives in WORDS.items()}
        pattern = phrase.format_map(words)
        pattern = pattern.replace("^", "(?<=, )").replace("*", r"\w+")
        found.append(pattern.replace("$", "(?= ,)"))
    return re.compile(rf"(?<![\w/])(?:{'|'.join(found)})(?!\w)")


_DISMISSAL = _compile(DISMISSALS)
_CHANGE = _compile(CHANGES)
_AGREEMENT = _compile(AGREEMENTS)
_CONCEDED = re.compile(rf"{_AGREEMENT.pattern}.*?, (?:but|however) ,")
_DOUBT = re.compile(rf"\b(?:{DOUBTS})\b")
_DENIED = re.compile(rf"\b(?:{DENIALS})\b[^,]*$")
_UNCHANGED = re.compile(
    rf"\b(?:not|never|no) (?:(?:be|been|a|an|the|to|yet) )*(?:{WORDS['fixed']}|fix|fixes)\b"
)
_COMMIT = re.compile(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7,40}\b")
_DISMISS = re.compile(r"/dismiss(?:[:,]|[ \t]+[^\W\d])", re.ASCII | re.IGNORECASE)  # with a reason
_NOT_OWN_WORDS = re.compile(
    r"^[ \t]*>[^\n]*|```.*?(?:```|\Z)|`[^`\n]*`|\*\*|https?://\S+", re.MULTILINE | re.DOTALL
)
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?!\s|$)[^.!?\n]*)*[.!?]*")
_CLAUSE_ENDS = re.compile(
    r"[,;:()\u2013\u2014]|\b(?=(?:but|however|because|since|so) )|(?<=\bbut )|(?<=\bhowever )"
)
_OPENING = re.compile(
    r"\s*(?:(?:ok|okay|thanks|thank you|yes|yep|yeah|sure|sorry|nope"
    r"|no(?= (?:i|we|it|this|that)\b)) )*"
)


def classify_reply(text: str) -> ReplyKind:
    """Return what a reply in the thread of a finding says of it. Quoted lines, code and links do
    not count.
    """
    if _DISMISS.match(text) or read_command_line(text)[1] == "/dismiss":
        return "dismissal"
    sentences = _spell_out(text)
    if _reports_change([one for one in sentences if not one.endswith("?")]):
        return "change"
    if _reports_change(sentences):  # "Should I change it?"
        return "other"
    if any(map(_is_dismissal, sentences)):
        return "dismissal"
    return "other"


def _reports_change(sentences: Iterable[str]) -> bool:
    """Return True if the sentences have a word of a change that is not part of a dismissal."""
    rest = _UNCHANGED.sub("", _DISMISSAL.sub("", " ".join(sentences)))
    if _CHANGE.search(rest) or _COMMIT.search(rest):
        return True
    return _AGREEMENT.search(_CONCEDED.sub("", rest)) is not None


def _is_dismissal(sentence: str) -> bool:
    """Return True if the sentence has a phrase that is not asked, supposed or denied."""
    if sentence.endswith("?") or _DOUBT.search(sentence):
        return False
    found = _DISMISSAL.finditer(sentence)
    return any(_DENIED.search(sentence, 0, one.start()) is None for one in found)


def describe_dismissal(key: str) -> str:
    """Return how a person dismissed a finding, from the key of the dismissal: "reply"."""
    return next((how for beginning, how in HOW.items() if key.startswith(beginning)), "reply")


def find_dismissals(thread: ReviewThread) -> Mapping[str, str]:
    """Return the logins of people who dismissed the finding of this thread, by a key such as "reply
    2 by mona".

    Of a person's replies, the last one that dismisses the finding or takes the dismissal back
    counts. Resolving a thread in which HLS said that the finding is fixed dismisses nothing, also
    if the finding is open again.
    """
    found: dict[str, str] = {}
    was_fixed = any(key.startswith(FIXED) for key in thread.own_replies)
    if thread.is_resolved and thread.resolved_by and not was_fixed:
        found[f"{RESOLVED}{thread.resolved_by}"] = thread.resolved_by
    found |= {f"thumbs down by {login}": login for login in thread.thumbs_down}
    replies: Counter[str] = Counter()
    last: dict[str, str] = {}  # keys by login
    for reply in thread.replies:
        replies[reply.author] += 1
        kind = classify_reply(reply.body)
        if kind == "dismissal":
            last[reply.author] = f"reply {replies[reply.author]} by {reply.author}"
        elif kind == "change":
            last.pop(reply.author, None)
    found |= {key: login for login, key in last.items()}
    return {key: login for key, login in found.items() if not login.endswith("[bot]")}


def _spell_out(text: str) -> list[str]:
    """Return the sentences of a reply, without contractions: "No, it's fine." is ", no , it is fine
    ,".

    A question ends with a question mark.
    """
    own = _NOT_OWN_WORDS.sub(" ", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").lower()
    for pattern, replacement in CONTRACTIONS.items():
        own = re.sub(pattern, replacement, own)
    sentences: list[str] = []
    for sentence in _SENTENCE.findall(own):
        clauses = _CLAUSE_ENDS.split(sentence.strip(" \t.!?"))
        without_opening = [_OPENING.sub("", clause, 1) for clause in clauses]
        words = " , ".join(" ".join(clause.split()) for clause in without_opening)
        mark = "?" if sentence.endswith("?") else ""
        sentences.append(f", {words} ,{mark}")
    return sentences

"""Recognizes questions in comments by their text alone, so that other comments cause no call to Claude."""

from __future__ import annotations

import re

MAX_SEARCHED_CHARACTERS = 10_000
"""Characters of a comment that are searched."""

HTML_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
CODE = re.compile(
    r"^[ \t]*(?:(?:[-*+]|[0-9]{1,9}[.)])[ \t]+)*(```|~~~).*?(?:^[ \t]*\1|\Z)|`[^`\n]*`|^(?: {4}|\t).*$",
    re.MULTILINE | re.DOTALL,
)
QUOTED_LINE = re.compile(r"^[ \t]*>.*$", re.MULTILINE)

HOW_TO_START = re.compile(
    r"how (?:can|do|could|should|would|may|might) (?:i|we|one|a (?:beginner|newcomer|student)) "
    r"(?:start|begin|get started|contribute|help|join|work on)"
    r"|how to (?:start|begin|get started|contribute)\b|where (?:can|do|should) (?:i|we) (?:start|begin)"
    r"|(?:my|a|his|her|their) first (?:contribution|issue|pull request|pr)\b|first[- ]time contributor"
    r"|(?:can|may|could|might) (?:i|we) (?:please )?(?:work on|take(?: up)?|pick(?: up)?|try|tackle|help with) "
    r"(?:this|it)"
    r"|(?:i(?:'d| would)? (?:like|love|want)|(?:i am|i'm) willing) to (?:work on|contribute|help|take|pick up|start)"
    r"|(?:assign|give) (?:this|it|the issue)(?: issue)? to me|please assign me"
    r"|wie (?:kann|könnte) ich (?:anfangen|beginnen|mithelfen|mitmachen|beitragen|helfen)|mein erster beitrag"
    r"|c[oó]mo (?:puedo|podr[ií]a) (?:empezar|comenzar|contribuir|ayudar|colaborar)|mi primera contribuci[oó]n"
    r"|comment (?:puis-je|je peux|peut-on) (?:commencer|contribuer|aider|participer)|ma premi[eè]re contribution"
    r"|como (?:posso|poderia) (?:começar|comecar|contribuir|ajudar)|minha primeira contribuiç[aã]o"
    r"|как (?:я могу |мне |можно )?(?:начать|помочь|внести|поучаствовать)"
    r"|如何(?:开始|参与|贡献)|怎么(?:开始|参与|贡献)|どうやって(?:始め|貢献|参加)|어떻게 (?:시작|기여|참여)",
    re.IGNORECASE,
)
"""Questions of newcomers about how to start. A few false matches do no harm, because Claude judges next."""

COURTESY = re.compile(r"(?:thanks?|thank you|thx|merci|danke|gracias|obrigad[oa]|спасибо|谢谢|ありがとう|nice|great)\b")

MIN_REQUEST_LETTERS = 10
"""A mention with fewer other letters is a greeting, not a request."""

MAX_COURTESY_CHARACTERS = 60
"""A text that begins with thanks and is not longer than this contains nothing but thanks."""


def strip_code_and_quotes(text: str) -> str:
    """Return the commenter's own visible text, without code, quoted lines and HTML comments."""
    visible = HTML_COMMENT.sub(" ", text[:MAX_SEARCHED_CHARACTERS].replace("\r\n", "\n"))
    return QUOTED_LINE.sub(" ", CODE.sub(" ", visible))


def asks_how_to_start(text: str) -> bool:
    """Return True if a comment asks how to start contributing."""
    return HOW_TO_START.search(" ".join(strip_code_and_quotes(text).replace("\u2019", "'").split())) is not None


def addressed_to_bot(text: str, login: str) -> bool:
    """Return True if a comment mentions the account with more than a greeting or thanks."""
    own_text = strip_code_and_quotes(text)
    mention = re.compile(rf"(?<![\w/@-])@{re.escape(login)}(?![\w/-])", re.IGNORECASE)
    if not mention.search(own_text):
        return False
    rest = " ".join(mention.sub(" ", own_text).split()).strip(" ,.:;!-").lower()
    if len(rest) <= MAX_COURTESY_CHARACTERS and COURTESY.match(rest) and "?" not in rest:
        return False
    return sum(character.isalpha() for character in rest) >= MIN_REQUEST_LETTERS or "?" in rest

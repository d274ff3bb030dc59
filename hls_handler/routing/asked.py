"""What a comment asks of us, told by its words alone: whatever asks nothing costs nothing."""

from __future__ import annotations

import re

LONGEST_READ = 10_000
"""Characters of a comment that are looked at."""

HIDDEN = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
CODE = re.compile(
    r"^[ \t]*(?:(?:[-*+]|[0-9]{1,9}[.)])[ \t]+)*(```|~~~).*?(?:^[ \t]*\1|\Z)|`[^`\n]*`|^(?: {4}|\t).*$",
    re.MULTILINE | re.DOTALL,
)
QUOTED = re.compile(r"^[ \t]*>.*$", re.MULTILINE)

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
"""How newcomers ask for a way in. Claude is the second to judge: that a few others match does no harm."""

COURTESY = re.compile(r"(?:thanks?|thank you|thx|merci|danke|gracias|obrigad[oa]|спасибо|谢谢|ありがとう|nice|great)\b")

LETTERS_OF_A_REQUEST = 10
"""A mention with fewer letters beside it says hello, and asks nothing."""

SHORT = 60
"""Characters within which a text that begins with thanks is nothing but thanks."""


def own_words(text: str) -> str:
    """What a commenter says: without code, without what is quoted from others, and without what nobody sees."""
    seen = HIDDEN.sub(" ", text[:LONGEST_READ].replace("\r\n", "\n"))
    return QUOTED.sub(" ", CODE.sub(" ", seen))


def asks_how_to_start(text: str) -> bool:
    """Whether somebody new asks for a way in."""
    return HOW_TO_START.search(" ".join(own_words(text).replace("\u2019", "'").split())) is not None


def asks_account(text: str, login: str) -> bool:
    """Whether the account is mentioned, with more than a greeting or thanks beside it."""
    said = own_words(text)
    mention = re.compile(rf"(?<![\w/@-])@{re.escape(login)}(?![\w/-])", re.IGNORECASE)
    if not mention.search(said):
        return False
    rest = " ".join(mention.sub(" ", said).split()).strip(" ,.:;!-").lower()
    if len(rest) <= SHORT and COURTESY.match(rest) and "?" not in rest:
        return False
    return sum(character.isalpha() for character in rest) >= LETTERS_OF_A_REQUEST or "?" in rest

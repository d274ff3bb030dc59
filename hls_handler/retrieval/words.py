"""The words of a text, for the database's full-text search, which stems them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

MAX_QUESTION_WORDS = 60
LONGEST_WORD = 40  # longer ones are hashes, keys and encoded data

_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # between the words of a name: maxSize


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case. A name with humps counts as a whole, and by its parts."""
    words: list[str] = []
    for found in _WORD.finditer(text):
        parts = _HUMP.split(found[0])
        words += [found[0], *parts] if len(parts) > 1 else parts
    return [word.lower() for word in words if len(word) <= LONGEST_WORD]


def question_words(*texts: str) -> tuple[str, ...]:
    """Return the first words of texts, the most important text first, each word once."""
    words = dict.fromkeys(word for text in texts for word in split_words(text) if len(word) > 1)
    return tuple(words)[:MAX_QUESTION_WORDS]


def weigh_words(numbers: Mapping[str, int], total: int) -> Mapping[str, float]:
    """Return the weight of each word of a question: the rarer, the more. The sum of all weights is 1.

    `numbers` are the numbers of texts that contain each word, `total` is that of all texts.
    """
    weights = {word: math.log((total + 1) / (number + 0.5)) ** 2 for word, number in numbers.items()}
    weights = {word: weight for word, weight in weights.items() if numbers[word] * 2 <= total}
    whole = sum(weights.values())
    return {word: weight / whole for word, weight in weights.items()}


def join_words(texts: Iterable[str]) -> str:
    return " ".join(word for text in texts for word in split_words(text))

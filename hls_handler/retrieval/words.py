"""The stems of words, and how well a text fits a question.

The stems of SQLite and PostgreSQL differ, and neither counts how often a word occurs in a text (ADR
14).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

MAX_QUESTION_WORDS = 60
LONGEST_WORD = 40  # longer ones are hashes, keys and encoded data

_K = 1.2
_B = 0.75
_AVERAGE_WORDS = 170
"""Constants of BM25; the average is that of sections of documentation."""

_WORD = re.compile(r"[^\W_]+")
# between the words of a name: maxSize
_HUMP = re.compile(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def split_words(text: str) -> list[str]:
    """Return the stems of a text's words. A name with humps counts as a whole, and by its parts."""
    words: list[str] = []
    for match in _WORD.finditer(text):
        parts = _HUMP.split(match[0])
        if len(parts) > 1:
            words.append(match[0])
        words += parts
    return [_stem(word.lower()) for word in words if 1 < len(word) <= LONGEST_WORD]


@lru_cache(maxsize=20_000)  # a stem takes 50 us, and a stemmer 1 us; it is not thread-safe
def _stem(word: str) -> str:
    import snowballstemmer  # type: ignore[import-untyped]  # all its languages: 30 ms

    stem: str = snowballstemmer.stemmer("english").stemWord(word)
    return stem


def question_words(title: str, body: str) -> tuple[str, ...]:
    """Return the words of a question, each once."""
    return tuple(dict.fromkeys(split_words(f"{title} {body}")))[:MAX_QUESTION_WORDS]


def weigh_words(
    words: Sequence[str], numbers: Mapping[str, int], total: int
) -> Mapping[str, float]:
    """Return the weights of the words of a question: the rarer a word, the more. The sum of all
    weights is 1.

    `numbers` are the numbers of texts that contain each word, `total` is that of all texts.
    """
    counted = {word: numbers.get(word, 0) for word in words}
    weights = {
        word: math.log(1 + (total - number + 0.5) / (number + 0.5))
        for word, number in counted.items()
    }
    whole = sum(weights.values())
    return {word: weight / whole for word, weight in weights.items()}


def rate(text: str, weights: Mapping[str, float]) -> float:
    """Return how well a text, as stems separated by blanks, fits a question: from 0 to 2.2, by
    BM25.

    https://en.wikipedia.org/wiki/Okapi_BM25
    """
    words = text.split()
    counts = Counter(words)
    length = 1 - _B + _B * len(words) / _AVERAGE_WORDS
    return sum(
        weight * counts[word] * (_K + 1) / (counts[word] + _K * length)
        for word, weight in weights.items()
    )

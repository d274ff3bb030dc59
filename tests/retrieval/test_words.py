"""Stems of words, and how well a text fits a question."""

from __future__ import annotations

import math

import pytest

from hls_handler.retrieval.words import (
    question_words,
    rate,
    split_words,
    weigh_words,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Running the services", ["run", "the", "servic"]),
        ("maxSize", ["maxsiz", "max", "size"]),
        ("parseHTTPRequest", ["parsehttprequest", "pars", "http", "request"]),
        ("HTTP2 v1Beta", ["http2", "v1beta", "v1", "beta"]),
        ("max_size docs/proxy.md --dry-run", ["max", "size", "doc", "proxi", "md", "dri", "run"]),
        ("a b1 é I/O", ["b1"]),
        (f"{'x' * 40} {'x' * 41}", ["x" * 40]),
        ("Größe 部署 СТРОКА", ["größe", "部署", "строка"]),
        ('"quoted" OR (NEAR*)', ["quot", "or", "near"]),
        ("", []),
    ],
)
def test_words_are_stems_and_a_name_counts_with_its_parts(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_question_has_each_word_once() -> None:
    assert question_words("Behind proxies", "a proxy behind a proxy, nginx") == (
        "behind",
        "proxi",
        "nginx",
    )


def test_rare_words_have_the_larger_weights_whose_sum_is_one() -> None:
    weights = weigh_words(["nginx", "servic", "absent"], {"nginx": 1, "servic": 50}, 100)
    assert list(weights) == ["nginx", "servic", "absent"]
    assert math.isclose(sum(weights.values()), 1)
    assert [round(weight, 2) for weight in weights.values()] == [0.41, 0.07, 0.52]


def test_text_fits_better_with_more_of_the_words_and_less_beside_them() -> None:
    weights = {"nginx": 0.75, "proxi": 0.25}
    texts = [
        "",
        "nginx",
        "nginx proxi",
        "nginx " * 1_000 + "proxi",
        "nginx" + " else" * 499,
        "nginx proxi nginx",
    ]
    assert [round(rate(text, weights), 2) for text in texts] == [0, 1.26, 1.68, 1.72, 0.42, 1.84]

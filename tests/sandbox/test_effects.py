"""Effects that a comment would have on GitHub."""

from __future__ import annotations

import pytest

from hls_handler.sandbox.effects import Effects, effects_of


@pytest.mark.parametrize(
    ("body", "notified"),
    [
        ("Hello @octocat, and @octo-org/team!", ("octocat", "octo-org/team")),
        ("**@octocat**", ("octocat",)),
        ("&#64;octocat", ("octocat",)),
        ("\\@octocat", ("octocat",)),
        ("| who |\n|---|\n| @octocat |", ("octocat",)),
        ("<details>\n@octocat\n</details>", ("octocat",)),
        ("(@octocat)", ("octocat",)),
        ("- " * 12 + "@octocat", ("octocat",)),
        ("@octocat @octocat", ("octocat",)),
        ("`@octocat`", ()),
        ("```\n@octocat\n```", ()),
        ("[@octocat](https://example.org)", ()),
        ("@\u200boctocat", ()),
        ("@<!-- -->octocat", ()),
        ("@**octocat**", ()),
        ("somebody@example.org", ()),
        ("<!-- @octocat -->", ()),
        ("<code>\n@octocat\n</code>", ()),
        ("@", ()),
    ],
)
def test_notified_accounts(body: str, notified: tuple[str, ...]) -> None:
    assert effects_of(body).notifies == notified


@pytest.mark.parametrize(
    ("body", "closed"),
    [
        ("fixes #12", ("#12",)),
        ("Closes: #12", ("#12",)),
        ("**Resolved** octo-org/repo#3", ("octo-org/repo#3",)),
        ("fix GH-7", ("GH-7",)),
        ("closes https://github.com/o/r/issues/9", ("https://github.com/o/r/issues/9",)),
        ("closes <https://github.com/o/r/pull/9>", ("https://github.com/o/r/pull/9",)),
        ("&#102;ixes #12", ("#12",)),
        ("fixes\n#12", ("#12",)),
        ("<details>\nfixes #12\n</details>", ("#12",)),
        ("`fixes #12`", ()),
        ("fixes `#12`", ()),
        ("fixes #\u200b12", ()),
        ("fix\u200bes #12", ()),
        ("fixes<!-- --> #12", ()),
        ("prefixes #12", ()),
        ("see #12", ()),
    ],
)
def test_closed_issues(body: str, closed: tuple[str, ...]) -> None:
    assert effects_of(body).closes == closed


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("see #12 and o/r#3", Effects(references=("#12", "o/r#3"))),
        ("[see #12](https://example.org)", Effects()),
        ("![x](https://e.org/x.png)", Effects(images=("https://e.org/x.png",))),
        ("`![x](https://e.org/x.png)`", Effects()),
        ("a <img src=x> b", Effects(html=("img",))),
        ("<script>x</script>", Effects(html=("script",))),
        ("`<script>`", Effects()),
        ("<!-- hls:issues -->", Effects()),
        ("/lgtm\n\n```\n/merge now\n```", Effects(commands=("/lgtm", "/merge"))),
        ("> /lgtm\n\n /lgtm\n\n/usr/bin/env", Effects()),
        ("", Effects()),
    ],
)
def test_other_effects(body: str, expected: Effects) -> None:
    assert effects_of(body) == expected

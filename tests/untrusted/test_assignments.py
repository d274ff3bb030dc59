"""Secrets after a name such as `password=`: passwords made of words, and text that only looks like one."""

from __future__ import annotations

import pytest

from hls_handler.untrusted.redaction import redact

WORDS = [
    ("DB_PASSWORD=correct-horse-battery", "DB_PASSWORD=[redacted: password]"),
    ("export DB_PASSWORD=purple_monkey_dishwasher", "export DB_PASSWORD=[redacted: password]"),
    ("ENV PGPASSWORD=Correct.Horse.Battery", "ENV PGPASSWORD=[redacted: password]"),
    ("DB_PASSWORD=monkey", "DB_PASSWORD=[redacted: password]"),
    ("      - MYSQL_ROOT_PASSWORD=blue-turtle", "      - MYSQL_ROOT_PASSWORD=[redacted: password]"),
    ("DJANGO_SECRET=correct-horse-battery", "DJANGO_SECRET=[redacted: secret]"),
    ("password: purple_monkey_dishwasher", "password: [redacted: password]"),
    ("db:\n  password: blue_turtle\n", "db:\n  password: [redacted: password]\n"),
    ("db:\n  password: correct-horse-battery # for tests\n", "db:\n  password: [redacted: password] # for tests\n"),
    ("R   12 +   password: correct-horse-battery", "R   12 +   password: [redacted: password]"),
    ("+password=blue-turtle", "+password=[redacted: password]"),
    ("> password: swordfish", "> password: [redacted: password]"),
    ("Password: Correct-Horse-Battery", "Password: [redacted: password]"),
    ("log in as admin, password: correct-horse-battery", "log in as admin, password: [redacted: password]"),
    ("The password: correct-horse-battery.", "The password: [redacted: password]."),
    ("password=correct-horse-battery", "password=[redacted: password]"),
    ("password = correct-horse-battery", "password = [redacted: password]"),
    ("host=db password=correct-horse-battery user=x", "host=db password=[redacted: password] user=x"),
    ("Server=x;Password=purple_monkey;User=y", "Server=x;Password=[redacted: password];User=y"),
    ("https://x/?password=blue-turtle&a=1", "https://x/?password=[redacted: password]&a=1"),
    ("password: 'purple_monkey_dishwasher'", "password: '[redacted: password]'"),
    ('{"password": "correct-horse-battery"}', '{"password": "[redacted: password]"}'),
    ("login --password correct-horse-battery", "login --password [redacted: password]"),
    ("login --password purple_monkey_dishwasher -u x", "login --password [redacted: password] -u x"),
    ("mysql --password swordfish -u root", "mysql --password [redacted: password] -u root"),
    ("mysql --password=swordfish -u root", "mysql --password=[redacted: password] -u root"),
    ("tool --db-password=blue-turtle", "tool --db-password=[redacted: password]"),
    ("password%3Dcorrect-horse-battery", "password%3D[redacted: password]"),
    ("password%3dhunter2%26user%3Dx", "password%3d[redacted: password]%26user%3Dx"),
    ("?q=password%3A%20correct-horse-battery", "?q=password%3A%20[redacted: password]"),
    ("password%253Dhunter2", "password%253D[redacted: password]"),
    ("%22password%22%3A%22hunter2%22", "%22password%22%3A%22[redacted: password]%22"),
    ("%7B%22password%22%3A%20%22correct-horse%22%7D", "%7B%22password%22%3A%20%22[redacted: password]%22%7D"),
    ("https%3A%2F%2Fapp%3As3cret%40db%2Fx", "https%3A%2F%2F[redacted: url-credentials]%40db%2Fx"),
    ("ghp%5FaB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5", "[redacted: github-token]"),
    ("password%3Dswordfish%0Auser", "password%3D[redacted: password]%0Auser"),
]


@pytest.mark.parametrize(("before", "after"), WORDS, ids=[before[:40] for before, _ in WORDS])
def test_rule_10_passwords_made_of_words_are_redacted(before: str, after: str) -> None:
    assert redact(before) == after
    assert redact(after) == after


OTHER_TEXT = [
    "the password: field is required",
    "The password: it must be long.",
    "password: string",
    "password: non-empty-string",
    "  password: string_or_null",
    "  password: user_input",
    "  password: current_user",
    "  password: new_password",
    "  password: vault_db_pass",
    "  password: from-vault",
    "  password: is_required",
    "  password: too_short",
    "  password: field-error",
    "password: first-time-user setup",
    "Forgot your password: step-by-step",
    "password: well-known default",
    "password: PASSWORD_RESET_FLOW",
    "password: MIN_LENGTH_EXCEEDED",
    "Password: Content-Type",
    "login(user: name, password: entered_by_hand)",
    "connect(user=name, password=purple_monkey_dishwasher)",
    "password = user_supplied_text",
    "password = purple_monkey",
    "password = form.cleaned.value",
    "password = base.derive_from(seed)",
    "password=user_input",
    "called with password=some_value and more",
    "PASSWORD=db-password",
    "DB_PASSWORD=my-secret-name",
    "DB_PASSWORD=from-environment",
    "PASSWORD=settings.database.password",
    "API_TOKEN=name-of-variable",
    "SECRET_NAME=my-tls-cert",
    "secret: my-tls-cert",
    "use the --password option or --password-stdin",
    "pass --user and --password together",
    "--password read-only",
    "--password command-line-argument",
    "--password=PASSWORD",
    "--password=value",
    "token: next-auth-session",
    "password%20is%20required",
    "password%3Arequired",
    "password%3D%24%7BDB_PASSWORD%7D",
    "?q=password%3A+forgotten",
    "?q=password%3A+how+to+reset",
    "printf('%d%% password: %s')",
    "password: %3Cyour%20password%3E",
    "a%20path/with%2Fescapes?x=100%25",
    "<label for='password'>Password:</label>",
    "password:\n  description: the password of the account",
    "- password: optional, made up by the user",
    "password_min_length: sixteen-characters",
]


@pytest.mark.parametrize("text", OTHER_TEXT, ids=[text[:40] for text in OTHER_TEXT])
def test_rule_10_text_about_passwords_is_unchanged(text: str) -> None:
    assert redact(text) == text


def test_rule_10_the_corpus_of_text_about_passwords_is_large_enough() -> None:
    assert len(OTHER_TEXT) >= 30

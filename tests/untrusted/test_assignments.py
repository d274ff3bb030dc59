"""Values after a secret's name such as `password=`, in text that is not code: hidden unless placeholders or prose."""

from __future__ import annotations

import pytest

from hls_handler.untrusted.redaction import redact, redact_code

VALUES = [
    ("      - MYSQL_ROOT_PASSWORD=blue-turtle", "      - MYSQL_ROOT_PASSWORD=[redacted: password]"),
    ("db:\n  password: correct-horse-battery # for tests\n", "db:\n  password: [redacted: password] # for tests\n"),
    ("R   12 +   password: correct-horse-battery", "R   12 +   password: [redacted: password]"),
    ("The password: correct-horse-battery.", "The password: [redacted: password]."),
    ("https://x/?password=blue-turtle&a=1", "https://x/?password=[redacted: password]&a=1"),
    ("PASSWORD=PASSWORD1", "PASSWORD=[redacted: password]"),
    ("mysql --password swordfish -u root", "mysql --password [redacted: password] -u root"),
    ("%22password%22%3A%22hunter2%22", "%22password%22%3A%22[redacted: password]%22"),
    ("https%3A%2F%2Fapp%3As3cret%40db%2Fx", "https%3A%2F%2F[redacted: url-credentials]%40db%2Fx"),
    ("password%3Dswordfish%0Auser", "password%3D[redacted: password]%0Auser"),
    ('auth: {user: "x", pass: "swordfish"}', 'auth: {user: "x", pass: "[redacted: password]"}'),
    ("DB_PASSWORD=Yourself77", "DB_PASSWORD=[redacted: password]"),
    ("ENV DB_PASSWORD correct-horse-battery", "ENV DB_PASSWORD [redacted: password]"),
    ('ENV DB_PASSWORD "correct horse battery staple"', 'ENV DB_PASSWORD "[redacted: password]"'),
    ("setx DB_PASSWORD sunshine", "setx DB_PASSWORD [redacted: password]"),
    (
        "env:\n  - name: DB_PASSWORD\n    value: correct-horse-battery\n",
        "env:\n  - name: DB_PASSWORD\n    value: [redacted: password]\n",
    ),
    ("+- name: API_TOKEN\n+  value: abcd1234efgh", "+- name: API_TOKEN\n+  value: [redacted: token]"),
    ('{"name": "DB_PASSWORD", "value": "sunshine"}', '{"name": "DB_PASSWORD", "value": "[redacted: password]"}'),
    ("password = getpass()", "password = [redacted: password])"),
    ("password: pass-through", "password: [redacted: password]"),
    ("API key: swordfish", "API key: [redacted: api-key]"),
    ("Uid=y;Pwd=sunshine;", "Uid=y;Pwd=[redacted: password];"),
    ('password = """correct horse"""', 'password = """[redacted: password]"""'),
    ("password='it\\'s mine'", "password='[redacted: password]'"),
    ("password=swordfish and more words", "password=[redacted: password] and more words"),
    ("<secret>correct horse</secret>", "<secret>[redacted: secret]</secret>"),
    ("| Password | 80%x | db |", "| Password | [redacted: password] | db |"),
    ("**Password:** Tr0ub4dor&3", "**Password:** [redacted: password]"),
    ("**`password`**: `hunter22`", "**`password`**: `[redacted: password]`"),
    ("Password: **hunter22**.", "Password: [redacted: password]."),
    ("<b>Password:</b> Tr0ub4dor&3", "<b>Password:</b> [redacted: password]"),
    ("&#42;&#42;Password:&#42;&#42; hunter22", "&#42;&#42;Password:&#42;&#42; [redacted: password]"),
    ("> | `DB_PASSWORD` | `hunter2022` | db |", "> | `DB_PASSWORD` | `[redacted: password]` | db |"),
    ("R   12 + | **Password** | Tr0ub4dor3 |", "R   12 + | **Password** | [redacted: password] |"),
]


@pytest.mark.parametrize(("before", "after"), VALUES, ids=[before[:40] for before, _ in VALUES])
def test_rule_10_value_after_the_name_of_a_secret_is_redacted(before: str, after: str) -> None:
    assert redact(before) == after
    assert redact(after) == after


KINDS_OF_KEYS = "api access account private secret encryption signing master shared auth"


def test_rule_10_value_after_a_key_of_each_kind_is_redacted() -> None:
    for kind in KINDS_OF_KEYS.split():
        assert redact(f"my_{kind}_key=blue-turtle") == f"my_{kind}_key=[redacted: {kind}-key]"


PLACEHOLDERS = """
*** xxx ... ${x} $(x) {x} %s %x% %{x} <x> &lt;x&gt; [redacted [your] change-me changeme! placeholder redacted dummy
hidden masked filtered removed your-token insert-it replace_me example.x yourtoken example null nil none true false
undefined empty unset str string bytes text varchar char bool boolean int integer number object any unknown never void
optional required invalid expired missing inherit secretstr pass password token api_key
"""


def test_rule_10_placeholders_are_unchanged() -> None:
    assert [value for value in PLACEHOLDERS.split() if "[redacted: " in redact(f"password={value}")] == []


SHOWN = [
    "**Password:** The password field is empty.",
    "**password** (string): at least 8 characters",
    "<b>Password:</b> required",
    "| password | string | required |",
    "cat password | sha512sum",
    "if (token || other1234567) {",
    "Pass: 100%",
    "f(*args, password=password, **options)",
    "ENV DB_PASSWORD $PASSWORD",
    "ENV DB_PASSWORD_FILE /run/secrets/db",
    "ENV PASSWORD somehow disappears",
    "- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef:\n      name: db",
    "- name: DB_PASSWORD\n  value: $(PASSWORD)",
    "- name: password\n  value: string\n",
    "the password: field is required",
    "SECRET_NAME=my-tls-cert",
    "use the --password option or --password-stdin",
    "password%3D%24%7BDB_PASSWORD%7D",
    "printf('%d%% password: %s')",
    "<label for='password'>Password:</label>",
    "password:\n  description: the password of the account",
    "- password: optional, made up by the user",
    "password: &lt;your password&gt;",
    '"token": {"type": "object"}',
]


@pytest.mark.parametrize("text", SHOWN, ids=[text[:40] for text in SHOWN])
def test_rule_10_prose_and_placeholders_are_unchanged(text: str) -> None:
    assert redact(text) == text


CODE = [
    "password=swordfish and more words",
    'password = "hunter2"',
    'headers["Authorization"] = "Bearer abcdefghij0123456789"',
    'url = f"https://{user}:{password}@host/"',
    'url = "https://%s:%s@host/" % pair',
]


@pytest.mark.parametrize("code", CODE, ids=[code[:40] for code in CODE])
def test_rule_10_code_without_a_known_form_is_unchanged(code: str) -> None:
    assert redact_code(code) == code

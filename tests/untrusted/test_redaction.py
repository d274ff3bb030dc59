"""Redaction of credentials, and texts that must not be redacted.

The credentials are invented; those that a secret scanner could report are assembled at run time.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sysconfig
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler import untrusted
from hls_handler.untrusted import redaction
from hls_handler.untrusted.redaction import list_credentials, mask_secrets, redact, redact_code

A36 = "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5"
HEX40 = "3f9c2a71d05e4b8896aa0c11de72f4b5c6d7e8f9"
LAST_LINE = "-----END PRIVATE KEY-----"
B64 = "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfnygWyF8PbnGy5S7AEkXv1Hqk3sZs9tLmMa"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
JWT_OF_JWT_IO = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ"
    ".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
)

UPPER = "Q7WX2ERT9YUP4ASD6FGH8JKL3ZX5"
PREFIXED = [
    ("vault-token", "hvs." + "CAESI" + A36 + A36),
    ("vault-token", "hvb." + "AAAAAQ" + A36 + "_-" + A36),
    ("databricks-token", "dapi" + HEX40[:32]),
    ("databricks-token", "dapi" + HEX40[:32] + "-2"),
    ("grafana-token", "glsa_" + A36[:32] + "_" + HEX40[:8]),
    ("grafana-token", "glc_" + "eyJvIjoiMTIz" + A36 + "=="),
    ("sentry-token", "sntrys_" + "eyJpYXQiOjE3" + A36 + A36 + "=_" + A36 + "aB3dE5g"),
    ("sentry-token", "sntryu_" + HEX40 + HEX40[:24]),
    *(("shopify-token", f"shp{kind}_" + HEX40[:32]) for kind in ("at", "ss", "ca", "pa")),
    ("notion-token", "ntn_" + "42637418905" + A36[:35]),
    ("notion-token", "secret_" + A36 + "aB3dE5g"),
    ("linear-key", "lin_api_" + A36 + "aB3d"),
    ("figma-token", "figd_" + A36 + "-_3d"),
    ("supabase-token", "sbp_" + HEX40),
    ("digitalocean-token", "doo_v1_" + HEX40 + HEX40[:24]),
    ("atlassian-token", "ATATT3" + "xFfGF0" + A36 * 5 + "=" + "4F21ACE8"),
    ("postman-key", "PMAK-" + HEX40[:24] + "-" + HEX40[:34]),
    ("doppler-token", "dp.pt." + A36 + "aB3dE5g"),
    ("pulumi-token", "pul-" + HEX40),
    ("terraform-token", A36[:14] + ".atlasv1." + A36 + A36[:31]),
    ("fly-token", "fo1_" + A36 + "-_3dE5g"),
    ("netlify-token", "nfp_" + A36),
    ("new-relic-key", "NRAK-" + UPPER[:27]),
    ("dynatrace-token", "dt0c01." + UPPER[:24] + "." + (UPPER * 3)[:64]),
    ("planetscale-token", "pscale_tkn_" + A36 + "_B3dE5g"),
    ("planetscale-token", "pscale_pw_" + A36 + "_B3dE5g"),
    ("prefect-key", "pnu_" + A36),
    ("rubygems-key", "rubygems_" + HEX40 + HEX40[:8]),
    ("huggingface-token", "hf_" + A36[:34]),
    ("groq-key", "gsk_" + A36 + A36[:16]),
    ("perplexity-key", "pplx-" + A36 + A36[:12]),
    ("xai-key", "xai-" + A36 + A36 + A36[:8]),
    ("tailscale-key", "tskey-auth-" + "kQ7wX2eRT9CNTRL" + "-" + A36[:32]),
    ("tailscale-key", "tskey-api-" + "kQ7wX2eRT9CNTRL" + "-" + A36[:32]),
    ("mailgun-key", "key-" + HEX40[:32]),
    ("square-token", "sq0atp-" + A36[:22]),
    ("square-token", "sq0csp-" + A36 + "-_3dE5g"),
    ("square-token", "EAAA" + "lK7" + A36 + A36[:21]),
    ("stripe-key", "rk_" + "live_" + A36),
    (
        "age-key",
        "AGE-SECRET-KEY-1" + "QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" + "QPZRY9X8GF2TVDW0S3JN54KHC",
    ),
    ("onepassword-token", "ops_" + "eyJzaWduSW5BZGRyZXNz" + A36 * 7 + "=="),
]
CREDENTIALS = [
    ("github-token", f"ghp_{A36}"),
    ("github-token", f"gho_{A36}"),
    ("github-token", f"ghu_{A36}"),
    ("github-token", f"ghs_{A36}"),
    ("github-token", f"ghr_{A36}"),
    ("github-token", f"ghs_123456_{JWT}"),
    ("github-token", f"github_pat_11ABCDEFG0{A36}_{A36}"),
    ("github-token", f"v1.{HEX40}"),
    ("gitlab-token", "glpat-" + "aB3dE5gH7jK9mN1pQ3rS"),
    ("aws-key", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("aws-key", "ASIA" + "IOSFODNN7EXAMPLE"),
    ("slack-token", "xox" + "b-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx"),
    ("slack-token", "xoxe.xox" + "p-1-Mi0yLTEyMzQ1Njc4OTAx"),
    ("slack-token", "xapp" + "-1-A0123456789-0123456789012-abcdef0123456789"),
    (
        "slack-webhook",
        "https://hooks.slack.com/services/" + "T00000000/B00000000/aB3dE5gH7jK9mN1pQ3rS5tU7",
    ),
    ("discord-webhook", "https://discord.com/api/webhooks/" + "123456789012345678/" + A36 + A36),
    ("jwt", JWT),
    ("anthropic-key", "sk-ant-api03-" + A36 + "_" + A36 + "-AA"),
    ("openai-key", "sk-proj-" + A36),
    ("openai-key", "sk-" + A36),
    ("google-key", "AIza" + "SyA1bC2dE3fG4hI5jK6lM7nO8pQ9rS0tU1v"),
    ("google-key", "GOCSPX-" + "aB3dE5gH7jK9mN1pQ3rS5tU7vW9x"),
    ("google-key", "ya29." + A36),
    ("stripe-key", "sk_" + "live_" + "aB3dE5gH7jK9mN1pQ3rS5tU7"),
    ("stripe-key", "rk_" + "test_" + "aB3dE5gH7jK9mN1pQ3rS5tU7"),
    ("stripe-key", "whsec_" + "aB3dE5gH7jK9mN1pQ3rS5tU7vW9x"),
    ("npm-token", f"npm_{A36}"),
    ("pypi-token", "pypi-AgEIcHlwaS5vcmc" + A36),
    ("docker-token", "dckr_pat_" + "aB3dE5gH7jK9mN1pQ3rS5tU7"),
    ("huggingface-token", "hf_" + A36),
    ("sendgrid-key", "SG." + "aB3dE5gH7jK9mN1pQ3rS5t" + "." + A36 + "aB3dE5g"),
    ("digitalocean-token", "dop_v1_" + HEX40 + HEX40[:24]),
    ("telegram-token", "123456789:AA" + A36[:33]),
    ("age-key", "AGE-SECRET-KEY-1" + "QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2),
    *PREFIXED,
    (
        "private-key",
        f"-----BEGIN RSA PRIVATE KEY-----\n{B64}\n{B64}\nq1W=\n-----END RSA PRIVATE KEY-----",
    ),
    (
        "private-key",
        f"-----BEGIN PRIVATE KEY-----\r\n{B64}\r\n-----END PRIVATE KEY-----".replace("\r", ""),
    ),
    ("private-key", f"-----BEGIN OPENSSH PRIVATE KEY-----\n{B64}\n{B64}"),
    (
        "private-key",
        f"-----BEGIN PRIVATE KEY-----\\n{B64}\\n{B64[:9]}==\\n-----END PRIVATE KEY-----",
    ),
    ("private-key", f"-----BEGIN PRIVATE KEY----- {B64} {B64} -----END PRIVATE KEY-----"),
    (
        "private-key",
        (
            f"-----BEGIN PRIVATE KEY-----\nProc-Type: 4\nDEK-Info: AES,0F\n\n{B64}\nabc=\n-----END"
            " PRIVATE KEY-----"
        ),
    ),
    (
        "private-key",
        (
            f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 2\n\n{B64}\n=aB3d\n-----END PGP"
            " PRIVATE KEY BLOCK-----"
        ),
    ),
    (
        "private-key",
        (
            f"-----BEGIN PRIVATE KEY-----\nR   12 + {B64}\nR   13 + {B64[:20]}\nR   14 + -----END"
            " PRIVATE KEY-----"
        ),
    ),
    ("private-key", f"-----BEGIN PRIVATE KEY-----\n> {B64}\n> abc=\n> -----END PRIVATE KEY-----"),
    ("private-key", f'-----BEGIN PRIVATE KEY-----\n    "{B64}",\n    "-----END PRIVATE KEY-----'),
    *(
        ("private-key", end.join(["-----BEGIN PRIVATE KEY-----", B64, f"{B64[:9]}==", LAST_LINE]))
        for end in ('\\n"\n    "', "\\r\\n' +\n    '", "\\n\\\n", "',\n    '")
    ),
]


AZURE = "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey="
AZURITE = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

AROUND = (
    "{}",
    "see {} here",
    "x={}\n",
    "({}),",
    "`{}`",
    "<{}>",
    "a/{}",
    "\n{}\nb",
    "a\\n{}",
    "\\u000a{}",
)


@pytest.mark.parametrize(
    ("kind", "credential"),
    CREDENTIALS,
    ids=[f"{n}-{kind}" for n, (kind, _) in enumerate(CREDENTIALS)],
)
def test_rule_10_known_credentials_are_redacted_by_kind(kind: str, credential: str) -> None:
    for around in AROUND:
        shown = around.format(f"[redacted: {kind}]")
        assert redact(around.format(credential)) == shown == redact(shown)
    lines = "\n".join([f"[redacted: {kind}]"] * (credential.count("\n") + 1))
    shown = redact_code(f"password = '{credential}'")
    assert re.sub(r"(R +[0-9]+ \+)? +(?=\[)", "", shown) == f"password = '{lines}'"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("postgres://app:s3cret@db:5432/x", "postgres://[redacted: url-credentials]@db:5432/x"),
        (f"https://{A36}@github.com/a/b", "https://[redacted: url-credentials]@github.com/a/b"),
        (
            f"git clone https://x-access-token:{A36}@github.com",
            "git clone https://[redacted: url-credentials]@github.com",
        ),
        ("redis://:hunter2@cache", "redis://[redacted: url-credentials]@cache"),
        ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic [redacted: authorization]"),
        (
            '-H "Authorization:token abcdef123"',
            '-H "Authorization:token [redacted: authorization]"',
        ),
        ("curl with Bearer abcdefghij0123456789", "curl with Bearer [redacted: authorization]"),
        ('passwd := "swordfish"', 'passwd := "[redacted: password]"'),
        ('"{\\"password\\": \\"hunter2\\"}"', '"{\\"password\\": \\"[redacted: password]\\"}"'),
        ("config['password'] = b'hunter2'", "config['password'] = b'[redacted: password]'"),
        ("tool --auth-token ab12cd34ef x", "tool --auth-token [redacted: token] x"),
        ("export SMTP_PASS=a,b;c(d", "export SMTP_PASS=[redacted: password]"),
        ("Server=x;Password=a1b2c3;", "Server=x;Password=[redacted: password];"),
        ('apiKey = "ab12-cd34-ef56"', 'apiKey = "[redacted: apikey]"'),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRf",
            "aws_secret_access_key = [redacted: secret-access-key]",
        ),
        ("X-Api-Key: 0123456789abcdef", "X-Api-Key: [redacted: api-key]"),
        ("token: \"see password='hunter2' there\"", 'token: "[redacted: token]"'),
        ("[redacted: password=hunter2", "[redacted: password=[redacted: password]"),
        (f"ghp&#x5F;{A36} ghp&lowbar;{A36}", "[redacted: github-token] [redacted: github-token]"),
        (f"sk\\-ant\\-api03\\-{A36}\\_{A36}\\-AA.", "[redacted: anthropic-key]."),
        (f"&#115;k-ant-api03-{A36}", "[redacted: anthropic-key]"),
        (JWT.replace(".", "\\."), "[redacted: jwt]"),
        ("password&equals;hunter2", "password&equals;[redacted: password]"),
        (
            "Authorization\\: Bearer abc\\.def\\-1",
            "Authorization\\: Bearer [redacted: authorization]",
        ),
        ("postgres\\://app\\:s3cret\\@db", "postgres\\://[redacted: url-credentials]@db"),
        (f"DB_PASSWORD=hunter2-ghp_{A36}", "DB_PASSWORD=[redacted: password]"),
        ("\\-----BEGIN PRIVATE KEY-----\n" + B64.replace("3", "&#51;"), "[redacted: private-key]"),
        ('secret="unclosed1\nnext line', 'secret="[redacted: secret]\nnext line'),
        (
            "      - MYSQL_ROOT_PASSWORD=blue-turtle",
            "      - MYSQL_ROOT_PASSWORD=[redacted: password]",
        ),
        (
            "db:\n  password: correct-horse-battery # for tests\n",
            "db:\n  password: [redacted: password] # for tests\n",
        ),
        ("R   12 +   password: correct-horse-battery", "R   12 +   password: [redacted: password]"),
        ("The password: correct-horse-battery.", "The password: [redacted: password]."),
        ("https://x/?password=blue-turtle&a=1", "https://x/?password=[redacted: password]&a=1"),
        ("PASSWORD=PASSWORD1", "PASSWORD=[redacted: password]"),
        ("mysql --password swordfish -u root", "mysql --password [redacted: password] -u root"),
        ("%22password%22%3A%22hunter2%22", "%22password%22%3A%22[redacted: password]%22"),
        (
            "https%3A%2F%2Fapp%3As3cret%40db%2Fx",
            "https%3A%2F%2F[redacted: url-credentials]%40db%2Fx",
        ),
        ("password%3Dswordfish%0Auser", "password%3D[redacted: password]%0Auser"),
        ('auth: {user: "x", pass: "swordfish"}', 'auth: {user: "x", pass: "[redacted: password]"}'),
        ("DB_PASSWORD=Yourself77", "DB_PASSWORD=[redacted: password]"),
        ("ENV DB_PASSWORD correct-horse-battery", "ENV DB_PASSWORD [redacted: password]"),
        (
            'ENV DB_PASSWORD "correct horse battery staple"',
            'ENV DB_PASSWORD "[redacted: password]"',
        ),
        ("setx DB_PASSWORD sunshine", "setx DB_PASSWORD [redacted: password]"),
        (
            "env:\n  - name: DB_PASSWORD\n    value: correct-horse-battery\n",
            "env:\n  - name: DB_PASSWORD\n    value: [redacted: password]\n",
        ),
        (
            "+- name: API_TOKEN\n+  value: abcd1234efgh",
            "+- name: API_TOKEN\n+  value: [redacted: token]",
        ),
        (
            '{"name": "DB_PASSWORD", "value": "sunshine"}',
            '{"name": "DB_PASSWORD", "value": "[redacted: password]"}',
        ),
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
        (
            "&#42;&#42;Password:&#42;&#42; hunter22",
            "&#42;&#42;Password:&#42;&#42; [redacted: password]",
        ),
        (
            "> | `DB_PASSWORD` | `hunter2022` | db |",
            "> | `DB_PASSWORD` | `[redacted: password]` | db |",
        ),
        (
            "R   12 + | **Password** | Tr0ub4dor3 |",
            "R   12 + | **Password** | [redacted: password] |",
        ),
        ("Cookie: theme=dark; a=b; c=d e\nHost: x", "Cookie: [redacted: cookie]\nHost: x"),
        ("> Set-Cookie: a=b; HttpOnly", "> Set-Cookie: [redacted: cookie]"),
        ("curl -H 'cookie: a=b; c=d' x", "curl -H 'cookie: [redacted: cookie]' x"),
        ('{"Cookie": "a=b; c=d"}', '{"Cookie": "[redacted: cookie]"}'),
        ("/a;JSESSIONID=0A1B2C3D4E5F?x=1", "/a;JSESSIONID=[redacted: cookie]?x=1"),
        ("connect.sid=s%3Aj4Kd0fLq8; b=1", "connect.sid=[redacted: cookie]; b=1"),
        ("curl -b session=eyJ1c2VyIjoxfQ.Zk1x x", "curl -b session=[redacted: cookie] x"),
    ],
    ids=lambda text: text[:30],
)
def test_rule_10_only_the_value_is_redacted(before: str, after: str) -> None:
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
    assert [
        value for value in PLACEHOLDERS.split() if "[redacted: " in redact(f"password={value}")
    ] == []


@pytest.mark.parametrize(
    "text",
    [
        f"commit {HEX40}",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "id 123e4567-e89b-12d3-a456-426614174000",
        (
            "integrity"
            " sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="
        ),
        "def login(user, password=None):",
        "token = '+'",
        "max_tokens: 4000",
        "api_key: ${API_KEY}",
        "password: ${{ secrets.DB_PASSWORD }}",
        "password: <your password>",
        "password = 'your-password-here'",
        "password=%(password)s",
        "The password is wrong, and the token expired.",
        "<input type='password' name='password'>",
        "passwordHash: computed",
        "Authorization: Bearer $TOKEN",
        "the bearer of good news, a Bearer authentication-scheme-description",
        "ssh://git@github.com/a/b.git",
        "https://$USER:$PASSWORD@host/",
        "http://localhost:8080/path?email=a@b.example",
        "https://medium.com/@user/a:b@c",
        'if text.startswith("-----BEGIN RSA PRIVATE KEY-----"):',
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "sk-fading-circle sk-cube-grid",
        "ghp_ is the prefix, ghp_short is too short",
        r"C:\_work\_temp\ghp\_x and \\server\share\.token\-store",
        r"re.compile('gh[pousr]\_[A-Za-z0-9]{36}|sk\-ant\-[\w\-]{20,}')",
        r"a \_word\_ and 2 \* 3 \= 6, ghp\_ is the prefix, sk\-fading\-circle",
        "&lt;password&gt; &amp;token&#61; &copy; &#0; &nosuchentity;",
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
        "Cookie: the banner covers the page",
        "session = requests.Session()",
        "?session=monday&sid=12",
    ],
    ids=lambda text: text[:30],
)
def test_rule_10_other_text_is_unchanged(text: str) -> None:
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


PIECES = r"""
password token secret api_key = " ' \ ` :// @ hunter2 eyJ . ( ) { < > -- sk- swordfish a 1 , \_ \= &#95;
&quot; & ; ${x} DB_TOKEN %3D %253D %22 %26 DB_PASSWORD correct-horse-battery blue_turtle - + ** | ENV </b> db.
"""
FRAGMENTS = [
    *PIECES.split(),
    *(
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        B64,
        f"ghp_{A36}",
        f"ghp\\_{A36}",
    ),
    *(
        ": ",
        " ",
        "\n",
        "Bearer ",
        "Authorization: ",
        "[redacted: password]",
        "--password ",
        "name: DB_PASSWORD",
    ),
    *("\nvalue: ", "pass: "),
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join))
def test_rule_10_redaction_is_idempotent_for_any_text(text: str) -> None:
    once = redact(text)
    assert redact(once) == once
    as_code = redact_code(text)
    assert redact_code(as_code) == as_code


@pytest.mark.parametrize("rest", ["", "\n", "…", "\n" + B64[:16], "\n" + B64[:40] + " (more)"])
def test_a_truncated_key_is_redacted_to_its_end(rest: str) -> None:
    assert redact(f"-----BEGIN EC PRIVATE KEY-----\n{B64}{rest}").rstrip("…\n") in {
        "[redacted: private-key]",
        "[redacted: private-key] (more)",
    }


def test_text_after_a_truncated_key_is_not_redacted() -> None:
    text = (
        f"My key:\n-----BEGIN RSA PRIVATE KEY-----\n{B64}\n{B64}\n(cut)\nWhat now? Nothing works."
    )
    assert redact(text) == "My key:\n[redacted: private-key]\n(cut)\nWhat now? Nothing works."


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ('"postgres://app:s3cret@db:5432/x"', '"postgres://[redacted: url-credentials]@db:5432/x"'),
        ("db://me:p%40s%23!-+~.s@host", "db://[redacted: url-credentials]@host"),
        (f"https://{A36}@github.com/a/b", "https://[redacted: url-credentials]@github.com/a/b"),
        ("x ://u:1;run|sh;@", "x ://u:1;run|sh;@"),
        ("https://a:b$(run)@host", "https://a:b$(run)@host"),
    ],
)
def test_rule_10_password_in_a_url_is_redacted_in_code_if_it_is_no_code(
    code: str, shown: str
) -> None:
    assert redact_code(code) == shown
    assert redact_code(shown) == shown


def test_credentials_are_listed_by_line_and_kind() -> None:
    added = [
        "import x",
        f"a = 'ghp_{A36}', 'glpat-aB3dE5gH7jK9mN1pQ3rS'",
        "",
        "url = 'redis://:hunter2@cache'",
    ]
    added += [
        "-----BEGIN PRIVATE KEY-----",
        B64,
        "-----END PRIVATE KEY-----",
        f"b = 'ghp\\_{A36}'",
        "password = 'x1y2z3'",
    ]
    text = "\n".join(added)
    listed = [
        (text[:start].count("\n"), text[:end].count("\n"), kind)
        for start, end, kind in list_credentials(text)
    ]
    assert listed == [
        (1, 1, "github-token"),
        (1, 1, "gitlab-token"),
        (3, 3, "url-credentials"),
        (4, 6, "private-key"),
        (7, 7, "github-token"),
    ]


@pytest.mark.parametrize(
    "example",
    [
        "AKIA" + "IOSFODNN7EXAMPLE",
        "sk_" + "test_aB3dE5gH7jK9mN1pQ3rS5tU7",
        JWT_OF_JWT_IO,
        "https://hooks.slack.com/services/" + "T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
        "ghp_" + "x" * 36,
        "https://user:pass@host/",
        "postgres://postgres:postgres@postgres:5432/test",
        "redis://:s3cret@localhost:6379",
        "https://app:s3cret@api.example.com/",
        "amqp://app:changeme@broker",
        "http://a:b@proxy.test.corp/",
        "oracle://" + "scott:tiger@tnsname",
        "http://john%40example.com:P%40SSWORD@proxy.corp/",
        AZURE + AZURITE,
        "glc_" + "x" * 40,
        "figd_EXAMPLE_TOKEN_FOR_THE_DOCUMENTATION_OF_X",
        "xox" + "b-your-token-here",
        "https://hooks.slack.com/" + "services/YOUR/WEBHOOK/URL",
        "sbp_" + HEX40[:34] + "xxxxxx",
    ],
)
def test_examples_and_test_keys_are_redacted_but_not_listed(example: str) -> None:
    assert "[redacted: " in redact_code(example)
    assert list_credentials(example) == []


@pytest.mark.parametrize(
    ("kind", "credential"), PREFIXED, ids=[f"{n}-{kind}" for n, (kind, _) in enumerate(PREFIXED)]
)
def test_rule_10_credential_with_a_prefix_is_listed(kind: str, credential: str) -> None:
    code = f'+    client = Client("{credential}")\n'
    assert list_credentials(code) == [(22, 22 + len(credential), kind)]


def test_rule_10_key_of_azure_storage_is_redacted_behind_its_name_and_listed() -> None:
    key = "qW7+eR/9" * 10 + "tY2uI4=="
    code = f"{AZURE}{key};EndpointSuffix=core.windows.net"
    shown = f"{AZURE}[redacted: azure-storage-key];EndpointSuffix=core.windows.net"
    assert redact_code(code) == shown == redact_code(shown) == redact(code)
    assert list_credentials(code) == [(len(AZURE), len(AZURE) + 88, "azure-storage-key")]


@pytest.mark.parametrize(
    "code",
    [
        "gsk_render_node_get_offscreen_for_node_with_a_long_name_in_gtk",
        "nfp_net_tunnel_neigh_update_of_a_flower_offload_v6",
        "cache-key-" + HEX40[:32],
        f"key-{HEX40}",
        "secret_TheNameOfAVariableThatHasExactlyFortyThreeX",
        "iVBORw0KGgo/EAAA" + A36 + A36[:24] + "+zT4",
        "dapi" + HEX40,
        "pul-request and hvs.short and xai-button-primary and sq0idp-" + A36[:22],
        "https://hub.docker.com/r8_x/hf_space ops_team PMAK-1 dp.pt.x glsa_ ntn_",
        "AccountName=x;AccountKey=${AZURE_STORAGE_KEY}",
        'if (s.contains("-----BEGIN PRIVATE KEY-----")) {\n    loadThePrivateKey();\n}',
        "HEADERS = ('-----BEGIN RSA PRIVATE KEY-----',\n           '-----END RSA PRIVATE KEY-----')",
        "# such as '-----BEGIN PRIVATE KEY-----...' or '-----BEGIN EC PRIVATE KEY-----<more>'",
    ],
    ids=lambda text: text[:30],
)
def test_rule_10_text_that_resembles_a_form_is_unchanged_in_code(code: str) -> None:
    assert redact_code(code) == code


def test_no_credential_is_listed_in_the_standard_library() -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    files = [*folder.glob("*.py"), *folder.glob("[eh]*/*.py")]
    assert len(files) > 200
    listed = {file.name: list_credentials(file.read_text(errors="replace")) for file in files}
    assert {name for name, spans in listed.items() if spans} == set()


def test_password_for_a_host_that_exists_only_in_examples_is_not_listed() -> None:
    for host in (
        "127.0.0.1",
        "example",
        "db.example",
        "example.org",
        "example.net",
        "a.test",
        "a.invalid",
    ):
        assert list_credentials(f"https://app:s3cret@{host}/") == []


@pytest.mark.parametrize("host", ["localhost:8080", "github.com"])
def test_a_token_of_a_known_form_in_a_url_is_listed_whatever_the_host_is(host: str) -> None:
    assert list_credentials(f"https://bot:ghp_{A36}@{host}/") == [(8, 52, "url-credentials")]
    assert list_credentials(f"https://ghp_{A36}@{host}/") == [(8, 48, "github-token")]
    assert list_credentials(f"https://bot:ghp_{'x' * 36}@{host}/") == []


@pytest.mark.parametrize("indentation", ["\t", "        "])
def test_private_key_in_code_is_redacted_to_as_many_lines(indentation: str) -> None:
    key = ["-----BEGIN PRIVATE KEY-----", B64, B64[:20], "-----END PRIVATE KEY-----"]
    text = "\n".join(f"R {number:>4} + {indentation}{line}" for number, line in enumerate(key, 1))
    shown = f"R    1 + {indentation}[redacted: private-key]\n" + "\n".join(
        f"R    {number} + {indentation}[redacted: private-key]" for number in (2, 3, 4)
    )
    assert redact_code(text) == shown == redact_code(shown)
    assert redact_code("\n".join([*key, "x = 1"])) == "[redacted: private-key]\n" * 4 + "x = 1"


def test_code_between_key_markers_is_not_redacted() -> None:
    text = "-----BEGIN PRIVATE KEY-----\nos.system('evil')\n-----END PRIVATE KEY-----"
    assert "os.system('evil')" in redact(text)


# --- time
# -----------------------------------------------------------------------------


def patterns() -> list[re.Pattern[str]]:
    found = [re.compile(form.pattern) for form in redaction.FORMS]
    named = vars(redaction).values()
    return found + [value for value in named if isinstance(value, re.Pattern)]


def unbounded(parsed: Any, may_stop: bool = True) -> list[str]:
    """List the unbounded repetitions that can backtrack.

    These are not possessive, and something after them is not optional (`may_stop`), so that it can
    cause backtracking. Possessive groups are listed, too: before 3.11.5, Python loses the end of
    the match.
    """
    found: list[str] = []
    for at, (operation, argument) in enumerate(parsed):
        name = str(operation)
        following = list(parsed)[at + 1 :]
        stops = may_stop and all(
            str(later) in REPETITIONS and argument_[0] == 0 for later, argument_ in following
        )
        if name in REPETITIONS:
            low, high, body = argument
            is_group = [str(inner) for inner, _ in body] not in (
                ["IN"],
                ["LITERAL"],
                ["NOT_LITERAL"],
                ["ANY"],
            )
            if is_group and name == "POSSESSIVE_REPEAT":
                found.append(f"a possessive group: {body}")
            elif high > 10_000 and name != "POSSESSIVE_REPEAT" and not stops:
                found.append(f"{name} {low} {body}")
            found += unbounded(body, may_stop=False)
        elif name == "SUBPATTERN":
            found += unbounded(argument[-1], stops)
        elif name == "BRANCH":
            for branch in argument[1]:
                found += unbounded(branch, stops)
        elif name in {"ASSERT", "ASSERT_NOT"}:
            found += unbounded(argument[1], may_stop=False)
        elif name == "ATOMIC_GROUP":
            found.append(f"an atomic group: {argument}")
    return found


REPETITIONS = {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}

WHOLE_VALUE_PATTERNS = {"PLACEHOLDER"}
"""Matched only against a whole value of bounded length, at most twice."""


@pytest.mark.parametrize("pattern", patterns(), ids=lambda p: p.pattern[:40])
def test_rule_10_no_pattern_backtracks_into_an_unbounded_repetition(
    pattern: re.Pattern[str],
) -> None:
    if pattern in {getattr(redaction, name) for name in WHOLE_VALUE_PATTERNS}:
        assert pattern.pattern.count("*") + pattern.pattern.count("+") <= 14
        return
    assert unbounded(import_module("re._parser").parse(pattern.pattern, pattern.flags)) == []


def test_no_pattern_repeats_a_group_possessively() -> None:
    for module in iter_modules(untrusted.__path__):
        for value in vars(import_module(f"{untrusted.__name__}.{module.name}")).values():
            if isinstance(value, re.Pattern):
                found = unbounded(import_module("re._parser").parse(value.pattern, value.flags))
                assert [
                    problem for problem in found if problem.startswith(("a poss", "an at"))
                ] == [], value.pattern


HOSTILE_CHARS = 50_000
HOSTILE = [
    *('password="', "password=", "password: a ", 'token: \\"', "--a-b-token "),
    *("-----BEGIN PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----"),
    *("\n12345678901234567890123 MIIEpAIBAAKCAQEA0Z3V!", "eyJ", "eyJaaaaaaaaaaaa.", "://", "://a:"),
    *("a:b", "authorization: bearer ", "Bearer a", "ghp_", "x", "\\", "<password>"),
    *("secret='`\"", "1:AA", "\n", "pwd=(", "pwd=/", "pwd=a,", "pwd='pwd=\"pwd=`"),
    *('pwd=\\"pwd=\\\\"', "token={", "TOKEN=$", "TOKEN=%(", "private_key=[", "password=a.b("),
    *("password:a.b", "\\_", "&#95;", "ghp\\_", "pwd\\=(", "pwd&#61;", "&a", "pwd=a-"),
    *("pwd=aaa_", "password=a+b ", "--pwd=a", "--a-a-a-pwd=", "PWD=a.b.", "%3D", "%25", "pwd%3Da"),
    *("pwd%253Daaa-bbb-ccc%26", "**pwd**: a", "| token ", "|token|a1", "ENV A", "ENV PWD a"),
    *("pass: a-b-c-", "pwd,\n", "name: PWD\nvalue: a", "pwd,value:", "a.pwd=a", "</b>pwd</b>:</b>"),
    *('pwd="${', "pwd='${pwd=\"${pwd=`${", "pwd=&a", "pwd=[redacted: ", "pwd=a;pwd=", "<pwd>a"),
    *("| pwd | ", "name: pwd", "\nENV A_PWD", "https://a:b"),
    *("cookie: a=", "Cookie", "session=a", "sid=", "sid=aaaaaaaa"),
]


@pytest.mark.no_cover  # the lines of other tests, many thousand times
@pytest.mark.parametrize("unit", HOSTILE, ids=repr)
def test_rule_10_hostile_text_takes_linear_time(unit: str) -> None:
    """A quadratic step would take many minutes."""
    hostile = unit * (HOSTILE_CHARS // len(unit))
    assert "9xY1z" not in redact(f"{hostile} ghp_{A36}")
    assert "9xY1z" not in redact_code(f"{hostile} ghp_{A36}")


# --- secrets that we know
# -----------------------------------------------------------------------------

SECRET = 'It\'s a "Secret" to/Ev+ry=body? ü\\n'


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (SECRET, "***"),
        (repr(SECRET), "'***'"),
        (json.dumps({"a": SECRET}), '{"a": "***"}'),
        (json.dumps({"a": SECRET}, ensure_ascii=False), '{"a": "***"}'),
        (quote(SECRET, safe=""), "***"),
        (quote_plus(SECRET), "***"),
        (re.sub("%..", lambda found: found[0].lower(), quote(SECRET, safe="")), "***"),
        (html.escape(SECRET), "***"),
        (base64.b64encode(SECRET.encode()).decode(), "***="),
        (base64.b64encode(f"a:{SECRET}".encode()).decode(), "YTp***=="),
        (base64.urlsafe_b64encode(f"abc:{SECRET}".encode()).decode(), "YWJjOk***"),
    ],
)
def test_rule_19_a_known_secret_is_masked_in_every_encoding(text: str, masked: str) -> None:
    assert mask_secrets(f"before {text} after", [SECRET]) == f"before {masked} after"


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=4, max_size=30),
    st.binary(max_size=5),
)
def test_rule_19_no_part_of_a_secret_can_be_decoded_from_the_result(
    secret: str, before: bytes
) -> None:
    if len(secret.encode()) < 8:
        return
    encoded = base64.b64encode(before + secret.encode() + b"tail").decode()
    masked = mask_secrets(encoded, [secret])
    assert "***" in masked
    assert len(masked.replace("***", "")) <= len(encoded) - len(secret.encode()) * 8 // 6 + 2


def test_rule_19_only_secrets_that_are_long_enough_are_masked_the_longest_first() -> None:
    assert mask_secrets("token-and-more token", ["token", "token-and-more"]) == "*** ***"
    assert mask_secrets("abc, nothing to see", ["", "a", "abc"]) == "abc, nothing to see"

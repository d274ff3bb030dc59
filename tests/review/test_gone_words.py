"""Lines that still have a name or a word which a change took away."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.review.test_second_sites import find_change, summary

USER = "from app.user import User\n\n\ndef mail(user: User) -> str:\n    return user.mail\n"

RENAMED: Mapping[str, tuple[tuple[str, str, str], tuple[str, str], list[str]]] = {
    "a field in Python": (
        ("app/user.py", "class User:\n    mail: str\n", "class User:\n    email: str\n"),
        ("web/page.py", USER),
        ["use mail web/page.py:5"],
    ),
    "a field in Go": (
        (
            "user/user.go",
            "package user\ntype User struct {\n\tMail string\n}\n",
            "package user\ntype User struct {\n}\n",
        ),
        (
            "web/page.go",
            'package web\nimport "a.com/user"\nfunc f(u *user.User) string {\n\treturn u.Mail\n}\n',
        ),
        ["use Mail web/page.go:4"],
    ),
    "a property in TypeScript": (
        (
            "src/user.ts",
            "interface User {\n  mail: string;\n}\n",
            "interface User {\n  email: string;\n}\n",
        ),
        (
            "src/page.ts",
            "import { User } from './user';\nexport const f = (user: User) => user.mail;\n",
        ),
        ["use mail src/page.ts:2"],
    ),
    "a property that is taken from its object": (
        (
            "src/user.ts",
            "interface User {\n  mail: string;\n}\n",
            "interface User {\n  email: string;\n}\n",
        ),
        (
            "src/page.ts",
            (
                "import { User } from './user';\nconst f = (user: User) => {\n  const { mail } ="
                " user;\n};\n"
            ),
        ),
        ["use mail src/page.ts:3"],
    ),
    "a property in C#": (
        (
            "S/User.cs",
            "class User {\n  string Mail { get; }\n}\n",
            "class User {\n  string Email { get; }\n}\n",
        ),
        ("S/Page.cs", "class Page {\n  string F(User u) => u.Mail;\n}\n"),
        ["use Mail S/Page.cs:2"],
    ),
    "a field in Rust": (
        (
            "src/user.rs",
            "struct User {\n    mail: String,\n}\n",
            "struct User {\n    email: String,\n}\n",
        ),
        ("src/page.rs", "use crate::user::User;\nfn f(u: &User) -> &str {\n    &u.mail\n}\n"),
        ["use mail src/page.rs:3"],
    ),
    "a field that its class assigns": (
        (
            "src/order.py",
            "def f(order):\n    return order.mail\n",
            "def f(order):\n    return order.email\n",
        ),
        (
            "src/models.py",
            "class Order:\n    def __init__(self, mail):\n        self.mail = mail\n",
        ),
        ["use mail src/models.py:3"],
    ),
    "a constant": (
        ("app/limits.py", "MOST = 3\n", "MAXIMUM = 3\n"),
        ("app/job.py", "from app.limits import MOST\n\nprint(MOST)\n"),
        ["use MOST app/job.py:3"],
    ),
    "an enum value": (
        ("src/a.ts", "enum State {\n  Open,\n  Dead,\n}\n", "enum State {\n  Open,\n  Gone,\n}\n"),
        ("src/b.ts", "import { State } from './a';\nconst x = State.Dead;\n"),
        ["use Dead src/b.ts:2"],
    ),
    "an enum value that is a string elsewhere": (
        ("A.java", "enum A {\n  CANCELED,\n}\n", "enum A {\n  CANCELLED,\n}\n"),
        ("b/B.java", 'class B {\n  boolean f(String s) { return s.equals("CANCELED"); }\n}\n'),
        ["use CANCELED b/B.java:2"],
    ),
    "a column in a tag": (
        (
            "a/p.go",
            'package a\ntype P struct {\n\tO int `db:"owner_id"`\n}\n',
            "package a\ntype P struct {\n}\n",
        ),
        ("b/q.go", 'package b\nvar q = "SELECT owner_id FROM p"\n'),
        ["use owner_id b/q.go:2"],
    ),
    "a column in SQL": (
        (
            "db/p.sql",
            "CREATE TABLE p (\n  owner_id INT\n);\n",
            "CREATE TABLE p (\n  account_id INT\n);\n",
        ),
        ("app/q.py", "def q(db):\n    return db.all('SELECT owner_id FROM p')\n"),
        ["use owner_id app/q.py:2"],
    ),
    "a key": (
        ("app/make.py", "user = {\n    'user_name': 1,\n}\n", "user = {\n    'login': 1,\n}\n"),
        ("pages/user.html", "<b>{{ user.user_name }}</b>\n"),
        ["use user_name pages/user.html:1"],
    ),
    "a key of a settings file": (
        ("app.yaml", "timeout: 3\n", "deadline: 3\n"),
        ("app/run.py", "def f(cfg):\n    return cfg['timeout']\n"),
        ["use timeout app/run.py:2"],
    ),
    "the name of an event": (
        ("a/pay.ts", 'bus.emit("order.paid");\n', 'bus.emit("order.settled");\n'),
        ("b/stock.ts", 'const ad = { paid: "paid" };\nbus.on("order.paid", f);\n'),
        ["use paid b/stock.ts:2"],
    ),
    "the name of a route": (
        ("a/urls.py", 'path(name="invoice-detail")\n', 'path(name="invoice-page")\n'),
        ("b/mail.py", 'kind = "detail"\nlink = reverse("invoice-detail")\n'),
        ["use detail b/mail.py:2"],
    ),
    "a key of properties": (
        ("app.properties", "mail.retries=3\n", "mail.retry.count=3\n"),
        (
            "a/Mail.java",
            'class Mail {\n  int retries;\n  @Value("${mail.retries:0}") int number;\n}\n',
        ),
        ["use retries a/Mail.java:3"],
    ),
    "an inner key of a file of texts": (
        ("en.json", '{"cart": {\n  "submit": "Buy"\n}}\n', '{"cart": {\n  "order": "Buy"\n}}\n'),
        ("src/cart.ts", 'const text = t("cart.submit");\n'),
        ["use submit src/cart.ts:1"],
    ),
    "a field that was used": (
        ("app/a.py", "x = row.paid\n", "x = row.done\n"),
        ("app/b.py", 'x = row["paid"]\n'),
        ["use paid app/b.py:1"],
    ),
    "a word after an escape": (
        ("app/a.js", "emit('\\npaid');\n", "emit('');\n"),
        ("app/b.js", "on('paid');\n"),
        ["use paid app/b.js:1"],
    ),
    "a moved function": (
        ("app/a.py", "def one():\n    return 1\n\n\nx = 1\n", "x = 1\n"),
        ("app/c.py", "from app.a import one\n"),
        ["use one app/c.py:1"],
    ),
}


@pytest.mark.parametrize("kind", RENAMED)
def test_lines_that_still_have_what_was_renamed_are_shown(kind: str) -> None:
    (path, before, after), (other, text), shown = RENAMED[kind]
    assert summary(find_change({path: before}, {path: after, other: text})) == shown


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param(
            "web/task.py", "class Task:\n    mail: str\n", id="another field of this name"
        ),
        pytest.param(
            "web/task.py",
            "from web.tasks import Task\n# of a user\ndef f(task: Task):\n    return task.mail\n",
            id="a field of another type",
        ),
        pytest.param(
            "web/task.py", "def f(user):\n    mail = 1\n    return mail\n", id="a local variable"
        ),
        pytest.param("web/task.py", "x = 1  # the user's mail\n", id="a comment"),
        pytest.param(
            "web/task.py", "text = 'write a mail to the user'\n", id="a word of a sentence"
        ),
        pytest.param(
            "web/task.py", "def f(task):\n    return task.mail\n", id="nothing tells the type"
        ),
        pytest.param("docs/user.md", "`user.mail`\n", id="documentation"),
    ],
)
def test_a_namesake_of_what_was_renamed_is_not_shown(path: str, text: str) -> None:
    before = {"app/user.py": "class User:\n    mail: str\n"}
    assert find_change(before, {"app/user.py": "class User:\n    email: str\n", path: text}) == ()


@pytest.mark.parametrize("text", ['"paid"', '"order.paidout"', '"reorder.paid"', "ad.paid"])
def test_a_joined_word_is_compared_as_a_whole(text: str) -> None:
    before = {"a/pay.py": 'emit("order.paid")\n'}
    assert (
        find_change(before, {"a/pay.py": 'emit("order.done")\n', "b/ad.py": f"f({text})\n"}) == ()
    )


def test_the_end_of_a_file_name_is_not_a_word_of_its_own() -> None:
    before = {"a/kinds.py": 'KINDS = ["jpeg"]\n'}
    assert (
        find_change(before, {"a/kinds.py": 'KINDS = ["webp"]\n', "b/ad.py": 'f("logo.jpeg")\n'})
        == ()
    )


def test_a_word_that_is_in_over_20_files_is_not_shown() -> None:
    before = {"app/user.py": "class User:\n    mail: str\n"}
    after = {"app/user.py": "class User:\n    email: str\n"}
    users = {f"web/page{number}.py": USER for number in range(21)}
    assert find_change(before, {**after, **users}) == ()
    del users["web/page0.py"]
    assert len(find_change(before, {**after, **users})) == 3


def test_a_word_that_the_file_still_has_is_not_gone() -> None:
    before = {"app/user.py": "class User:\n    mail: str\n"}
    after = {
        "app/user.py": (
            "class User:\n    email: str\n\n    def old(self):\n        return self.mail\n"
        )
    }
    assert find_change(before, {**after, "web/page.py": USER}) == ()


def test_a_line_is_shown_once_for_all_its_reasons() -> None:
    before = "def load(known):\n    return {'retry_limit': known}\n"
    after = before.replace("retry_limit", "max_retries")
    user = "from worker import load\n\ndef run(known):\n    return load(known)['retry_limit']\n"
    found = find_change({"app/worker.py": before}, {"app/worker.py": after, "app/run.py": user})
    assert summary(found) == ["use retry_limit app/run.py:4"]

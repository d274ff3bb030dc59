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
        ("web/page.go", 'package web\nimport "a.com/user"\nfunc f(u *user.User) string {\n\treturn u.Mail\n}\n'),
        ["use Mail web/page.go:4"],
    ),
    "a property in TypeScript": (
        ("src/user.ts", "interface User {\n  mail: string;\n}\n", "interface User {\n  email: string;\n}\n"),
        ("src/page.ts", "import { User } from './user';\nexport const f = (user: User) => user.mail;\n"),
        ["use mail src/page.ts:2"],
    ),
    "a property that is taken from its object": (
        ("src/user.ts", "interface User {\n  mail: string;\n}\n", "interface User {\n  email: string;\n}\n"),
        ("src/page.ts", "import { User } from './user';\nconst f = (user: User) => {\n  const { mail } = user;\n};\n"),
        ["use mail src/page.ts:3"],
    ),
    "a property in C#": (
        ("S/User.cs", "class User {\n  string Mail { get; }\n}\n", "class User {\n  string Email { get; }\n}\n"),
        ("S/Page.cs", "class Page {\n  string F(User u) => u.Mail;\n}\n"),
        ["use Mail S/Page.cs:2"],
    ),
    "a field in Rust": (
        ("src/user.rs", "struct User {\n    mail: String,\n}\n", "struct User {\n    email: String,\n}\n"),
        ("src/page.rs", "use crate::user::User;\nfn f(u: &User) -> &str {\n    &u.mail\n}\n"),
        ["use mail src/page.rs:3"],
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
        ("a/p.go", 'package a\ntype P struct {\n\tO int `db:"owner_id"`\n}\n', "package a\ntype P struct {\n}\n"),
        ("b/q.go", 'package b\nvar q = "SELECT owner_id FROM p"\n'),
        ["use owner_id b/q.go:2"],
    ),
    "a column in SQL": (
        ("db/p.sql", "CREATE TABLE p (\n  owner_id INT\n);\n", "CREATE TABLE p (\n  account_id INT\n);\n"),
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
        pytest.param("web/task.py", "class Task:\n    mail: str\n", id="another field of this name"),
        pytest.param(
            "web/task.py",
            "from web.tasks import Task\n# of a user\ndef f(task: Task):\n    return task.mail\n",
            id="a field of another type",
        ),
        pytest.param("web/task.py", "def f(user):\n    mail = 1\n    return mail\n", id="a local variable"),
        pytest.param("web/task.py", "x = 1  # the user's mail\n", id="a comment"),
        pytest.param("web/task.py", "text = 'write a mail to the user'\n", id="a word of a sentence"),
        pytest.param("web/task.py", "def f(task):\n    return task.mail\n", id="nothing tells the type"),
        pytest.param("docs/user.md", "`user.mail`\n", id="documentation"),
    ],
)
def test_a_namesake_of_what_was_renamed_is_not_shown(path: str, text: str) -> None:
    before = {"app/user.py": "class User:\n    mail: str\n"}
    assert find_change(before, {"app/user.py": "class User:\n    email: str\n", path: text}) == ()


def test_a_word_that_is_in_over_20_files_is_not_shown() -> None:
    before = {"app/user.py": "class User:\n    mail: str\n"}
    after = {"app/user.py": "class User:\n    email: str\n"}
    users = {f"web/page{number}.py": USER for number in range(21)}
    assert find_change(before, {**after, **users}) == ()
    del users["web/page0.py"]
    assert len(find_change(before, {**after, **users})) == 3


def test_a_word_that_the_file_still_has_is_not_gone() -> None:
    before = {"app/user.py": "class User:\n    mail: str\n"}
    after = {"app/user.py": "class User:\n    email: str\n\n    def old(self):\n        return self.mail\n"}
    assert find_change(before, {**after, "web/page.py": USER}) == ()

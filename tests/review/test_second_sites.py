"""The places of a repository that a change depends on or affects."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from hls_handler.git.mirror import Hit
from hls_handler.review.patches import parse_patch
from hls_handler.review.second_sites import SecondSite, find_second_sites
from hls_handler.review.wanted_names import ChangedSource
from tests.rounds.generated import make_patch


def source(path: str, text: str, patch: str, *, shown: str | None = None) -> ChangedSource:
    return ChangedSource(path, text, parse_patch(patch), parse_patch(shown or patch))


@dataclass
class Files:
    """The files of a repository after the change. `searched` lists the words that were searched in
    all of them.
    """

    texts_of: Mapping[str, str]
    searched: set[str] = field(default_factory=set)

    def list_files(self, extensions: Collection[str]) -> Collection[str]:
        return [path for path in self.texts_of if path.endswith(tuple(extensions))]

    def find_words(
        self, words: Collection[str], paths: Collection[str] | None = None
    ) -> Sequence[Hit]:
        self.searched.update(words)
        hits: list[Hit] = []
        for path, text in self.texts_of.items():
            for number, line in enumerate(
                text.split("\n") if paths is None or path in paths else (), 1
            ):
                hits += [
                    Hit(path, number, word) for word in words if re.search(rf"\b{word}\b", line)
                ]
        return hits

    def texts(self, paths: Collection[str]) -> Mapping[str, str]:
        return {path: self.texts_of[path] for path in paths}


def find(
    files: Mapping[str, str], path: str, patch: str, *, shown: str | None = None
) -> tuple[SecondSite, ...]:
    """Return the places for a patch of one file of a repository that contains `files` after the
    change.
    """
    found = find_second_sites([source(path, files.get(path, ""), patch, shown=shown)], Files(files))
    return (*found.main, *found.further)


def summary(sites: Sequence[SecondSite]) -> list[str]:
    return [f"{site.kind} {site.name} {site.path}:{site.line}" for site in sites]


TAX = "def tax(price, rate):\n    return price * rate\n"
SHOP = "from tax import tax\n\n\ndef total(price):\n    return price + tax(price, 0.2)\n"
CALL_CHANGED = "@@ -5 +5 @@\n-    return price\n+    return price + tax(price, 0.2)"
TAX_CHANGED = "@@ -1,2 +1,2 @@\n-def tax(price):\n+def tax(price, rate):\n     return price * rate"


def test_a_function_that_a_changed_line_calls_is_shown() -> None:
    (site,) = find({"tax.py": TAX, "shop.py": SHOP}, "shop.py", CALL_CHANGED)
    assert site.kind == "definition"
    assert (site.path, site.line, site.sources) == ("tax.py", 1, ("shop.py",))
    assert site.text == "R    1   def tax(price, rate):\nR    2       return price * rate"


def test_calls_of_a_changed_function_are_shown_and_counted_those_of_tests_last() -> None:
    files = {
        "tax.py": TAX,
        "tests/test_tax.py": "def test_tax():\n    assert tax(1, 2)\n",
        "shop.py": SHOP,
    }
    sites = find(files, "tax.py", TAX_CHANGED)
    assert summary(sites) == ["call tax shop.py:5", "call tax tests/test_tax.py:2"]
    assert (sites[0].calls, sites[0].files) == (2, 2)
    assert (
        sites[0].text == "R    4   def total(price):\nR    5       return price + tax(price, 0.2)"
    )


def test_calls_of_a_removed_function_are_shown() -> None:
    patch = "@@ -1,4 +1,2 @@\n-def tax(price):\n-    return price\n x = 1\n y = 2"
    assert summary(find({"tax.py": "x = 1\ny = 2\n", "shop.py": SHOP}, "tax.py", patch)) == [
        "call tax shop.py:5"
    ]
    patch = "@@ -1,2 +0,0 @@\n-def tax(price):\n-    return price"
    assert summary(find({"shop.py": SHOP}, "tax.py", patch)) == ["call tax shop.py:5"]


def test_of_two_definitions_the_file_that_the_user_names_is_meant() -> None:
    rate = "def rate(country):\n    return 20\n"
    files = {
        "tax.py": rate,
        "fees.py": rate,
        "shop.py": "import tax\n\nx = tax.rate(1)\n",
        "bank.py": "fees.rate(1)\n",
    }
    assert summary(find(files, "shop.py", "@@ -3 +3 @@\n-x = 1\n+x = tax.rate(1)")) == [
        "definition rate tax.py:1"
    ]
    changed = "@@ -1,2 +1,2 @@\n-def rate():\n+def rate(country):\n     return 20"
    assert summary(find(files, "tax.py", changed)) == ["call rate shop.py:3"]
    assert summary(find(files, "fees.py", changed)) == ["call rate bank.py:1"]


def test_of_two_definitions_that_may_be_meant_none_is_shown_but_the_call_of_the_changed_one() -> (
    None
):
    files = {"tax.py": TAX, "old/tax.py": TAX, "shop.py": SHOP}
    assert find(files, "shop.py", CALL_CHANGED) == ()
    assert summary(find(files, "tax.py", TAX_CHANGED)) == ["call tax shop.py:5"]
    assert find({**files, "shop.py": "tax(1, 2)"}, "shop.py", "@@ -0,0 +1 @@\n+tax(1, 2)") == ()


def test_a_definition_in_a_file_that_the_user_does_not_name_is_not_meant() -> None:
    files = {"money/tax.py": "def execute(sql):\n    pass\n", "web/shop.py": "db.execute(1)\n"}
    assert find(files, "web/shop.py", "@@ -0,0 +1 @@\n+db.execute(1)") == ()
    assert find(files, "money/tax.py", "@@ -1 +1 @@\n-def execute():\n+def execute(sql):") == ()


def test_a_constant_and_a_field_that_a_changed_line_uses_are_shown() -> None:
    files = {
        "limits.py": "RATE = 3\n\n\nclass Tax:\n    # in percent\n    rate: int = 20\n",
        "shop.py": "def total(tax, limits):\n    return tax.rate * limits.RATE\n",
    }
    patch = "@@ -2 +2 @@\n-    return 1\n+    return tax.rate * limits.RATE"
    rate, constant = sorted(find(files, "shop.py", patch), key=lambda site: -site.line)
    assert rate.text == "R    5       # in percent\nR    6       rate: int = 20"
    assert constant.text == "R    1   RATE = 3"


def test_a_local_variable_is_neither_a_field_nor_a_variable_of_another_function() -> None:
    files = {
        "limits.py": (
            "class Tax:\n    rate = 20\n\n\ndef double(price):\n    total = 2 * price\n    return"
            " total\n"
        ),
        "shop.py": "def total_of(rate, total):\n    return rate + total\n",
    }
    assert find(files, "shop.py", "@@ -2 +2 @@\n-    return rate\n+    return rate + total") == ()


def test_the_comment_above_a_definition_is_shown_with_it() -> None:
    go = (
        "package tax\n\n// Rate is in percent.\n// It is never negative.\nfunc Rate() int"
        " {\n\treturn 20\n}\n"
    )
    use = "package shop\n\nvar x = tax.Rate()\n"
    (site,) = find(
        {"tax/tax.go": go, "shop/shop.go": use},
        "shop/shop.go",
        "@@ -3 +3 @@\n-var x = 1\n+var x = tax.Rate()",
    )
    assert site.text.split("\n")[:3] == [
        "R    3   // Rate is in percent.",
        "R    4   // It is never negative.",
        "R    5   func Rate() int {",
    ]


def test_a_place_within_another_one_is_not_repeated() -> None:
    files = {
        "tax.py": "class Tax:\n    rate = 20\n",
        "shop.py": "from tax import Tax\nprice = Tax().rate\n",
    }
    sites = find(files, "shop.py", "@@ -2 +2 @@\n-price = 1\n+price = Tax().rate")
    assert summary(sites) == ["definition Tax tax.py:1"]


def test_names_of_hunks_that_were_reviewed_before_are_not_looked_for_and_their_lines_are_places() -> (
    None
):
    files = {
        "tax.py": "def fee(): pass\n",
        "shop.py": "import tax\ndef total(): pass\n\n\ntax.fee()\ntotal()\n",
    }
    reviewed = "@@ -2 +2 @@\n-def total(old): pass\n+def total(): pass\n@@ -5,0 +5 @@\n+tax.fee()\n"
    sites = find(
        files, "shop.py", reviewed + "@@ -5,0 +6 @@\n+total()", shown="@@ -5,0 +6 @@\n+total()"
    )
    assert summary(sites) == ["definition total shop.py:2"]


def test_names_that_only_changed_tests_use_are_not_looked_for() -> None:
    files = {"tax.py": TAX, "tests/test_tax.py": "assert tax(1, 2)\n"}
    assert find(files, "tests/test_tax.py", "@@ -0,0 +1 @@\n+assert tax(1, 2)") == ()


def test_a_definition_in_another_language_is_not_that_of_a_name() -> None:
    assert (
        find({"tax.js": "function tax(price) {}\n", "shop.py": SHOP}, "shop.py", CALL_CHANGED) == ()
    )
    sites = find(
        {"tax.js": "function tax(price) {}\n", "shop.tsx": "x = tax(1)"},
        "shop.tsx",
        "@@ -0,0 +1 @@\n+x = tax(1)",
    )
    assert summary(sites) == ["definition tax tax.js:1"]


def test_what_the_patch_shows_is_not_shown_again() -> None:
    text = f"{TAX}\n\nprice = tax(1, 2)\n"
    patch = (
        "@@ -1,2 +1,5 @@\n+def tax(price, rate):\n+    return price * rate\n \n \n+price ="
        " tax(1, 2)"
    )
    assert find({"tax.py": text}, "tax.py", patch) == ()


def test_at_most_15_lines_of_a_definition_and_8_calls_are_shown() -> None:
    long = "def tax(price, rate):\n" + "    price += 1\n" * 40
    callers = {f"shop{number}.py": SHOP for number in range(9)}
    (definition,) = find({"tax.py": long, "shop.py": SHOP}, "shop.py", CALL_CHANGED)
    assert definition.text.count("\n") == 14
    files = {"tax.py": TAX, **callers}
    found = find_second_sites([source("tax.py", TAX, TAX_CHANGED)], Files(files))
    assert summary(found.main) == [
        "call tax shop0.py:5",
        "call tax shop1.py:5",
        "call tax shop2.py:5",
    ]
    assert len(found.further) == 5
    assert (found.main[0].calls, found.main[0].files) == (9, 9)


def test_the_place_that_belongs_to_most_changed_lines_comes_first() -> None:
    files = {
        "a.py": "def rare(): pass\n",
        "b.py": "def often(): pass\n",
        "c.py": "rare()\noften()\noften()\n",
    }
    sites = find(files, "c.py", "@@ -0,0 +1,3 @@\n+rare()\n+often()\n+often()")
    assert summary(sites) == ["definition often b.py:1", "definition rare a.py:1"]


def test_calls_in_hundreds_of_files_are_ranked_the_same_folder_first_and_one_test_last() -> None:
    callers = {f"pages/shop{number}.py": SHOP for number in range(300)}
    near = {
        "money/tax.py": TAX,
        "money/shop.py": SHOP,
        "money/test_tax.py": SHOP,
        "money/test_shop.py": SHOP,
    }
    sites = find({**callers, **near}, "money/tax.py", TAX_CHANGED)
    assert [site.path for site in sites[:2]] == ["money/shop.py", "pages/shop0.py"]
    assert len(sites) == 8
    assert not [site for site in sites if "test" in site.path]
    few = {path: text for path, text in near.items() if path != "money/shop.py"}
    assert summary(find(few, "money/tax.py", TAX_CHANGED)) == ["call tax money/test_shop.py:5"]


def test_the_first_call_of_each_file_comes_before_second_ones() -> None:
    calls = "from tax import tax\n\n\ndef a():\n    tax(1)\n\n\ndef b():\n    tax(2)\n"
    files = {"money/tax.py": TAX, "money/a.py": calls, "shop/b.py": calls, "tests/c.py": calls}
    sites = find(files, "money/tax.py", TAX_CHANGED)
    assert summary(sites) == [
        "call tax money/a.py:5",
        "call tax shop/b.py:5",
        "call tax money/a.py:9",
        "call tax shop/b.py:9",
        "call tax tests/c.py:5",
    ]


class LimitedFiles(Files):
    """Leaves out a word that is on more than 200 lines."""

    def find_words(
        self, words: Collection[str], paths: Collection[str] | None = None
    ) -> Sequence[Hit]:
        hits = super().find_words(words, paths)
        numbers = Counter(hit.name for hit in hits)
        return [hit for hit in hits if numbers[hit.name] <= 200]


@pytest.mark.parametrize("calls_of_each", [1, 4])
def test_calls_of_a_frequent_function_are_searched_in_the_nearest_files(calls_of_each: int) -> None:
    text = "from tax import tax\n" + "x = tax(1, 2)\n" * calls_of_each
    files = {f"pages/shop{number:03}.py": text for number in range(500)}
    files |= {"money/tax.py": TAX, "money/cart/sum.py": text}
    change = [source("money/tax.py", TAX, TAX_CHANGED)]
    found = find_second_sites(change, LimitedFiles(files))
    assert summary(found.main)[0] == "call tax money/cart/sum.py:2"


def test_a_definition_is_shown_though_hundreds_of_files_use_it() -> None:
    callers = {f"pages/shop{number}.py": SHOP for number in range(300)}
    sites = find({"tax.py": TAX, "shop.py": SHOP, **callers}, "shop.py", CALL_CHANGED)
    assert summary(sites) == ["definition tax tax.py:1"]


def test_only_words_of_at_most_100_characters_are_looked_for() -> None:
    text = f"this.#secret({'x' * 101}, {'y' * 100});"
    files = Files({"a.js": text})
    find_second_sites([source("a.js", text, f"@@ -0,0 +1 @@\n+{text}")], files)
    assert files.searched == {"y" * 100}


def test_files_beyond_4_million_characters_are_not_parsed() -> None:
    long = SHOP + "# " + "x" * 600_000
    callers = {f"shop{number}.py": long for number in range(9)}
    site, *_ = find({"tax.py": TAX, **callers}, "tax.py", TAX_CHANGED)
    assert site.calls == 7


def test_a_name_on_a_generated_line_is_left_out() -> None:
    assert find({"tax.py": TAX, "shop.py": "tax(1, 2);" * 101}, "tax.py", TAX_CHANGED) == ()


@pytest.mark.parametrize("text", ["", "x = 1\n" * 10, "(" * 50_000, "\0\n\xff" * 50])
def test_texts_that_do_not_fit_to_the_patch_have_no_places(text: str) -> None:
    assert find({"tax.py": text, "shop.py": SHOP}, "tax.py", "@@ -7,2 +7,2 @@\n x\n-y\n+z") == ()


LANGUAGES = {
    "a.py": ("class Box:\n    @cached\n    def area(self): pass", 2, "box.area(1)"),
    "a.js": ("export const area = (side) => {\n}", 1, "box.area(1);"),
    "a.ts": ("class Box { area<T>(side: T) { return side } }", 1, "this.box.area<number>(1);"),
    "a.tsx": ("export function area(side: number) {}", 1, "const x = <p>{area(1)}</p>;"),
    "a.go": (
        "package a\nfunc (b Box) area(side int) int { return side }",
        2,
        "package a\nfunc f() { box.area(1) }",
    ),
    "A.java": (
        "class Box {\n  int area(int side) { return side; } }",
        2,
        "class B { int x = box.area(1); }",
    ),
    "a.rs": ("impl Box {\n  fn area(side: i32) -> i32 { side } }", 2, "fn f() { Box::area(1); }"),
    "a.cs": ("class Box {\n  int Area(int side) => side; }", 2, "class B { int x = box.Area(1); }"),
    "a.c": ("int *area(int side) { return 0; }", 1, "int f(void) { return *area(1); }"),
    "a.cpp": ("int Box::area(int side) { return side; }", 1, "int f() { return box->area(1); }"),
}


@pytest.mark.parametrize("path", LANGUAGES)
def test_definitions_and_calls_of_a_language_are_found(path: str) -> None:
    definition, line, call = LANGUAGES[path]
    files = {path: definition, f"b{path}": call}
    name, last = path.lower()[0] + "rea", call.count("\n") + 1
    name = "Area" if path == "a.cs" else name
    added = "\n".join(f"+{text}" for text in call.split("\n"))
    assert summary(find(files, f"b{path}", f"@@ -0,0 +1,{last} @@\n{added}")) == [
        f"definition {name} {path}:{line}"
    ]
    added = "\n".join(f"+{text}" for text in definition.split("\n"))
    assert summary(find(files, path, f"@@ -0,0 +1,9 @@\n{added}")) == [
        f"call {name} b{path}:{last}"
    ]


def test_a_class_is_found_where_it_is_constructed() -> None:
    for path, definition, call in (
        ("a.py", "class Box:\n    pass", "Box(1)"),
        ("A.java", "class Box {}", "class B { Box b = new Box(1); }"),
        ("a.ts", "class Box {}", "x = new Box<number>(1)"),
        ("a.cs", "class Box {}", "class B { Box b = new Box(1); }"),
    ):
        sites = find({path: definition, f"b{path}": call}, f"b{path}", f"@@ -0,0 +1 @@\n+{call}")
        assert summary(sites) == [f"definition Box {path}:1"]


def test_a_file_of_another_language_does_not_hide_a_name() -> None:
    files = {"tax.py": TAX, "shop.py": SHOP, "a.js": "tax;"}
    changed = [source("a.js", "tax;", "@@ -0,0 +1 @@\n+tax;")]
    changed.append(source("shop.py", SHOP, CALL_CHANGED))
    sites = find_second_sites(changed, Files(files)).main
    assert summary(sites) == ["definition tax tax.py:1"]


def find_change(before: Mapping[str, str], files: Mapping[str, str]) -> tuple[SecondSite, ...]:
    """Return the places for the change of the files `before` into a repository that contains
    `files`.
    """
    changed: list[ChangedSource] = []
    for path, old in before.items():
        new = files.get(path, "")
        changed.append(source(path, new, make_patch(old.split("\n"), new.split("\n"))))
    found = find_second_sites(changed, Files(files))
    return (*found.main, *found.further)


def test_the_definition_of_what_a_removed_line_used_is_shown() -> None:
    before = "from locks import hold\n\n\ndef pay():\n    with hold():\n        send()\n"
    files = {"shop.py": "def pay():\n    send()\n", "locks.py": "def hold():\n    pass\n"}
    assert summary(find_change({"shop.py": before}, files)) == ["definition hold locks.py:1"]


def test_the_definition_of_what_an_unchanged_line_of_a_hunk_uses_comes_last() -> None:
    before = "from mail import push, render\n\n\ndef remind():\n    text = 1\n    push(text)\n"
    after = before.replace("text = 1", "text = render()")
    files = {
        "shop.py": after,
        "mail.py": "def push(text):\n    pass\n\n\n\n\ndef render():\n    pass\n",
    }
    found = find_second_sites(
        [source("shop.py", after, make_patch(before.split("\n"), after.split("\n")))], Files(files)
    )
    assert summary(found.main) == ["definition render mail.py:7"]
    assert summary(found.further) == ["definition push mail.py:1"]


def test_names_without_a_definition_in_the_repository_use_up_no_places() -> None:
    names = [f"foreign_{number}()" for number in range(60)] + ["tax(1, 2)"]
    text = "\n".join(["from tax import tax", *names])
    patch = "\n".join(["@@ -1 +1,62 @@", " from tax import tax", *(f"+{name}" for name in names)])
    assert summary(find({"tax.py": TAX, "shop.py": text}, "shop.py", patch)) == [
        "definition tax tax.py:1"
    ]


@pytest.mark.parametrize(
    ("path", "definition", "lines"),
    [
        (
            "o.py",
            (
                "@overload\ndef of(x: int): ...\n@overload\ndef of(x: str): ...\ndef of(x):\n   "
                " return x\n"
            ),
            [1, 3, 5],
        ),
        ("o.ts", "export function of(x: number);\nexport function of(x: string);\n", [1, 2]),
        ("o.cpp", "int of(int x) { return 1; }\nint of(char x) { return 2; }\n", [1, 2]),
    ],
)
def test_the_heads_of_all_overloads_are_shown(path: str, definition: str, lines: list[int]) -> None:
    user = f"user{path[1:]}"
    text = "o; of(1)"
    sites = find({path: definition, user: text}, user, f"@@ -0,0 +1 @@\n+{text}")
    assert [site.line for site in sites if site.name == "of"] == lines


NAMESAKES = {
    "an import": "import requests\n# tax\nrequests.rate(1)\n",
    "an import of the name": "from fees import rate\n# tax\nrate(1)\n",
    "an annotation": "from fees import Fees\n# tax\ndef f(fees: Fees):\n    fees.rate(1)\n",
    "a constructor": "# tax\nfees = Fees()\nfees.rate(1)\n",
    "a dictionary": "# tax\nfees = {}\nfees.rate(1)\n",
    "a string": "# tax\n'a'.rate(1)\n",
    "a class of another name": "# tax\nFees.rate(1)\n",
    "a method of another class": (
        "# tax\nclass Fees:\n    def f(self):\n        return self.rate(1)\n"
    ),
    "a function": "# tax\nrate(1)\n",
    "a parameter": "# tax\ndef f(tax: Tax): pass\ndef g(tax: Fees): tax.rate(1)\n",
    "a variable of the function around": (
        "# tax\ndef f():\n    tax = Fees()\n    return lambda: tax.rate(1)\n"
    ),
}


@pytest.mark.parametrize("kind", NAMESAKES)
def test_a_call_that_the_text_says_to_be_of_a_namesake_is_not_shown(kind: str) -> None:
    tax = "class Tax:\n    def rate(self, country):\n        return 20\n"
    patch = "@@ -2 +2 @@\n-    def rate(self):\n+    def rate(self, country):"
    assert find({"tax.py": tax, "shop.py": NAMESAKES[kind]}, "tax.py", patch) == ()


REPO = (
    "package %s\n\ntype Repo struct{}\n\nfunc (r *Repo) Find(mail string) string {\n\treturn"
    " %s\n}\n"
)
SERVICE = 'package %s\n\nimport "acme.dev/%s"\n\ntype S struct{ repo *%s.Repo }\n\n'
SERVICE += "func (s *S) F() string {\n\treturn s.repo.Find(mail)\n}\n"


def test_of_classes_of_one_name_that_of_the_receivers_type_is_meant() -> None:
    files = {
        "users/store.go": REPO % ("users", "mail"),
        "leads/repo.go": REPO % ("leads", "mail"),
        "login/login.go": SERVICE % ("login", "users", "users"),
        "crm/crm.go": SERVICE % ("crm", "leads", "leads"),
    }
    old = {"users/store.go": REPO % ("users", '""')}
    assert summary(find_change(old, files)) == ["call Find login/login.go:8"]
    old = {"leads/repo.go": REPO % ("leads", '""')}
    assert summary(find_change(old, files)) == ["call Find crm/crm.go:8"]
    old = {"login/login.go": files["login/login.go"].replace("s.repo.Find(mail)", '""')}
    assert "definition Find users/store.go:5" in summary(find_change(old, files))
    assert "definition Find leads/repo.go:5" not in summary(find_change(old, files))


CLIENT = "class Client:\n    def deliver(self, to):\n        return %s\n"


@pytest.mark.parametrize(
    "text",
    [
        "from dhl import Client\n# mail\nClient(1).deliver(2)\n",
        "from dhl import Client\n\ndef f(mail: Client): mail.deliver(2)\n",
        "import dhl\n\ndef f(mail: dhl.Client): mail.deliver(2)\n",
    ],
)
def test_a_class_of_a_module_that_the_repository_lacks_is_a_namesake(text: str) -> None:
    files = {"mail/client.py": CLIENT % "to", "parcels/label.py": text}
    assert find_change({"mail/client.py": CLIENT % "1"}, files) == ()
    old = {"parcels/label.py": text.replace(".deliver(2)", "")}
    assert "deliver" not in " ".join(summary(find_change(old, files)))


@pytest.mark.parametrize(
    "text",
    [
        "from mail.client import Client\nclass Own(Client):\n    def f(self): self.deliver(1)\n",
        "from mail.client import Client as Sender\nSender().deliver(1)\n",
        "import mail.client as sender\nsender.Client().deliver(1)\n",
        "from . import Client\nClient().deliver(1)  # mail client\n",
        "from acme_mail import Client\nClient().deliver(1)\n",
    ],
)
def test_a_class_of_a_module_that_a_path_names_is_no_namesake(text: str) -> None:
    files = {"mail/client.py": CLIENT % "to", "shop/a.py": text}
    found = summary(find_change({"mail/client.py": CLIENT % "1"}, files))
    assert [site for site in found if site.startswith("call deliver shop/a.py")]


def test_a_class_of_a_removed_file_is_no_namesake() -> None:
    files = {
        "shop/a.py": (
            "from mail.sender import Client\n\n\n\n\n\ndef f(one: Client):\n    one.deliver(1)\n"
        )
    }
    found = summary(find_change({"mail/sender.py": CLIENT % "1"}, files))
    assert "call deliver shop/a.py:8" in found


@pytest.mark.parametrize(
    "text",
    [
        "from tax import Tax\n\nTax().rate(1)\n",
        "from tax import Tax\n\ndef f(tax: Tax): return tax.rate(1)\n",
        "from tax import Tax\ntax = Tax()\ntax.rate(1)\n",
        "import tax\nclass Own(tax.Tax):\n    def f(self): return self.rate(1)\n",
        "def f(tax): return tax.rate(1)\n",
    ],
)
def test_a_call_of_the_type_that_changed_is_shown(text: str) -> None:
    tax = "class Tax:\n    def rate(self, country):\n        return 20\n"
    patch = "@@ -2 +2 @@\n-    def rate(self):\n+    def rate(self, country):"
    assert [site.path for site in find({"tax.py": tax, "shop.py": text}, "tax.py", patch)] == [
        "shop.py"
    ]


def test_a_method_of_a_builtin_type_is_that_of_a_class_only_if_the_receiver_is_named_after_it() -> (
    None
):
    cache = "class Cache:\n    def get(self, key):\n        return 1\n"
    patch = "@@ -0,0 +1 @@\n+"
    for text, shown in (
        ("cache.get(1)  # cache", True),
        ("row.get(1)  # cache", False),
        ("f().get(1)  # cache", False),
    ):
        assert bool(find({"cache.py": cache, "a.py": text}, "a.py", patch + text)) is shown


def test_an_added_blank_line_changes_no_class() -> None:
    files = {
        "tax.py": "class Tax:\n    a = 1\n\n    b = 2\n",
        "shop.py": "from tax import Tax\n\nTax()\n",
    }
    assert find(files, "tax.py", "@@ -1,3 +1,4 @@\n class Tax:\n     a = 1\n+\n     b = 2") == ()


def test_lines_that_are_shown_above_a_hunk_are_not_shown_again() -> None:
    text = f"{TAX}\n\nprice = tax(1, 2)\n"
    patch = parse_patch("@@ -5 +5 @@\n-price = 1\n+price = tax(1, 2)")
    for above, shown in ((frozenset[int](), 1), (frozenset([1, 2]), 0)):
        found = find_second_sites(
            [ChangedSource("tax.py", text, patch, patch, above)], Files({"tax.py": text})
        )
        assert len(found.main) == shown


@pytest.mark.parametrize(
    "text", ["x = " + "(" * 30_000, "a" + ".b" * 100_000, "rate(1)\n" * 50_000, "\\w+(a+)+$"]
)
def test_hostile_files_of_a_repository_do_not_stop_the_search(text: str) -> None:
    sites = find(
        {"tax.py": TAX, "shop.py": SHOP, "a.py": f"from tax import tax\n{text}"},
        "tax.py",
        TAX_CHANGED,
    )
    assert "call tax shop.py:5" in summary(sites)


def test_a_comment_at_the_end_of_the_line_above_is_not_shown_with_a_definition() -> None:
    files = {
        "tax.py": "class Tax:\n    low = 7  # in percent\n    rate = 20\n",
        "shop.py": "import tax\nx = t.rate\n",
    }
    (site,) = find(files, "shop.py", "@@ -2 +2 @@\n-x = 1\n+x = t.rate")
    assert site.text == "R    3       rate = 20"


def test_a_definition_in_a_test_is_not_that_of_a_name_outside_of_tests() -> None:
    files = {"tests/tax.py": TAX, "shop.py": "import tests.tax\ntax(1, 2)\n"}
    assert find(files, "shop.py", "@@ -2 +2 @@\n-x = 1\n+tax(1, 2)") == ()


def test_no_more_files_are_parsed_after_half_a_minute() -> None:
    files = {"tax.py": TAX, **{f"shop{number}.py": SHOP for number in range(9)}}
    seconds = iter([0.0, *[10.0] * 5, *[31.0] * 99])
    found = find_second_sites(
        [source("tax.py", TAX, TAX_CHANGED)], Files(files), lambda: next(seconds)
    )
    assert 0 < len(found.main) + len(found.further) < 8


def test_a_name_of_the_language_is_that_of_another_file_only_if_it_is_imported() -> None:
    files = {"src/field.ts": "export function Error(text: string) {}\n"}
    for text, shown in (
        ("field(new Error('x'));", 0),
        ("import { Error } from './field'; Error('x');", 1),
    ):
        sites = find({**files, "src/a.ts": text}, "src/a.ts", f"@@ -0,0 +1 @@\n+{text}")
        assert len(sites) == shown

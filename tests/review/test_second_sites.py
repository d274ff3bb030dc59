"""The places of a repository that a change depends on or affects."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import pytest

from hls_handler.review.patches import parse_patch
from hls_handler.review.second_sites import ChangedSource, Hit, SecondSite, find_second_sites


def source(path: str, text: str, patch: str, *, shown: str | None = None) -> ChangedSource:
    return ChangedSource(path, text, parse_patch(patch), parse_patch(shown or patch))


def find(files: Mapping[str, str], path: str, patch: str, *, shown: str | None = None) -> tuple[SecondSite, ...]:
    """Return the places for a patch of one file of a repository that contains `files` after the change."""

    def search(names: Collection[str]) -> Sequence[Hit]:
        return [
            Hit(at, number, name)
            for at, text in files.items()
            for number, line in enumerate(text.split("\n"), 1)
            for name in names
            if re.search(rf"\b{name}\b", line)
        ]

    return find_second_sites(
        [source(path, files.get(path, ""), patch, shown=shown)],
        search,
        lambda paths: {path: files[path] for path in paths},
    )


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
    files = {"tax.py": TAX, "tests/test_tax.py": "def test_tax():\n    assert tax(1, 2)\n", "shop.py": SHOP}
    sites = find(files, "tax.py", TAX_CHANGED)
    assert summary(sites) == ["call tax shop.py:5", "call tax tests/test_tax.py:2"]
    assert (sites[0].calls, sites[0].files) == (2, 2)
    assert sites[0].text == "R    4   def total(price):\nR    5       return price + tax(price, 0.2)"


def test_calls_of_a_removed_function_are_shown() -> None:
    patch = "@@ -1,4 +1,2 @@\n-def tax(price):\n-    return price\n x = 1\n y = 2"
    assert summary(find({"tax.py": "x = 1\ny = 2\n", "shop.py": SHOP}, "tax.py", patch)) == ["call tax shop.py:5"]
    patch = "@@ -1,2 +0,0 @@\n-def tax(price):\n-    return price"
    assert summary(find({"shop.py": SHOP}, "tax.py", patch)) == ["call tax shop.py:5"]


def test_of_two_definitions_the_file_that_the_user_names_is_meant() -> None:
    rate = "def rate(country):\n    return 20\n"
    files = {"tax.py": rate, "fees.py": rate, "shop.py": "import tax\n\nx = tax.rate(1)\n", "bank.py": "fees.rate(1)\n"}
    assert summary(find(files, "shop.py", "@@ -3 +3 @@\n-x = 1\n+x = tax.rate(1)")) == ["definition rate tax.py:1"]
    changed = "@@ -1,2 +1,2 @@\n-def rate():\n+def rate(country):\n     return 20"
    assert summary(find(files, "tax.py", changed)) == ["call rate shop.py:3"]
    assert summary(find(files, "fees.py", changed)) == ["call rate bank.py:1"]


def test_of_two_definitions_that_may_be_meant_none_is_shown_but_the_call_of_the_changed_one() -> None:
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
        "limits.py": "class Tax:\n    rate = 20\n\n\ndef double(price):\n    total = 2 * price\n    return total\n",
        "shop.py": "def total_of(rate, total):\n    return rate + total\n",
    }
    assert find(files, "shop.py", "@@ -2 +2 @@\n-    return rate\n+    return rate + total") == ()


def test_the_comment_above_a_definition_is_shown_with_it() -> None:
    go = "package tax\n\n// Rate is in percent.\n// It is never negative.\nfunc Rate() int {\n\treturn 20\n}\n"
    use = "package shop\n\nvar x = tax.Rate()\n"
    (site,) = find(
        {"tax/tax.go": go, "shop/shop.go": use}, "shop/shop.go", "@@ -3 +3 @@\n-var x = 1\n+var x = tax.Rate()"
    )
    assert site.text.split("\n")[:3] == [
        "R    3   // Rate is in percent.",
        "R    4   // It is never negative.",
        "R    5   func Rate() int {",
    ]


def test_a_place_within_another_one_is_not_repeated() -> None:
    files = {"tax.py": "class Tax:\n    rate = 20\n", "shop.py": "from tax import Tax\nprice = Tax().rate\n"}
    sites = find(files, "shop.py", "@@ -2 +2 @@\n-price = 1\n+price = Tax().rate")
    assert summary(sites) == ["definition Tax tax.py:1"]


def test_names_of_hunks_that_were_reviewed_before_are_not_looked_for_and_their_lines_are_places() -> None:
    files = {"tax.py": "def fee(): pass\n", "shop.py": "import tax\ndef total(): pass\n\n\ntax.fee()\ntotal()\n"}
    reviewed = "@@ -2 +2 @@\n-def total(old): pass\n+def total(): pass\n@@ -5,0 +5 @@\n+tax.fee()\n"
    sites = find(files, "shop.py", reviewed + "@@ -5,0 +6 @@\n+total()", shown="@@ -5,0 +6 @@\n+total()")
    assert summary(sites) == ["definition total shop.py:2"]


def test_names_that_only_changed_tests_use_are_not_looked_for() -> None:
    files = {"tax.py": TAX, "tests/test_tax.py": "assert tax(1, 2)\n"}
    assert find(files, "tests/test_tax.py", "@@ -0,0 +1 @@\n+assert tax(1, 2)") == ()


def test_a_definition_in_another_language_is_not_that_of_a_name() -> None:
    assert find({"tax.js": "function tax(price) {}\n", "shop.py": SHOP}, "shop.py", CALL_CHANGED) == ()
    sites = find(
        {"tax.js": "function tax(price) {}\n", "shop.tsx": "x = tax(1)"}, "shop.tsx", "@@ -0,0 +1 @@\n+x = tax(1)"
    )
    assert summary(sites) == ["definition tax tax.js:1"]


def test_what_the_patch_shows_is_not_shown_again() -> None:
    text = f"{TAX}\n\nprice = tax(1, 2)\n"
    patch = "@@ -1,2 +1,5 @@\n+def tax(price, rate):\n+    return price * rate\n \n \n+price = tax(1, 2)"
    assert find({"tax.py": text}, "tax.py", patch) == ()


def test_at_most_15_lines_of_a_definition_and_3_calls_are_shown() -> None:
    long = "def tax(price, rate):\n" + "    price += 1\n" * 40
    callers = {f"shop{number}.py": SHOP for number in range(9)}
    (definition,) = find({"tax.py": long, "shop.py": SHOP}, "shop.py", CALL_CHANGED)
    assert definition.text.count("\n") == 14
    sites = find({"tax.py": TAX, **callers}, "tax.py", TAX_CHANGED)
    assert summary(sites) == ["call tax shop0.py:5", "call tax shop1.py:5", "call tax shop2.py:5"]
    assert (sites[0].calls, sites[0].files) == (9, 9)


def test_the_place_that_belongs_to_most_changed_lines_comes_first() -> None:
    files = {"a.py": "def rare(): pass\n", "b.py": "def often(): pass\n", "c.py": "rare()\noften()\noften()\n"}
    sites = find(files, "c.py", "@@ -0,0 +1,3 @@\n+rare()\n+often()\n+often()")
    assert summary(sites) == ["definition often b.py:1", "definition rare a.py:1"]


def test_a_name_in_too_many_files_is_left_out() -> None:
    callers = {f"shop{number}.py": SHOP for number in range(61)}
    assert find({"tax.py": TAX, **callers}, "tax.py", TAX_CHANGED) == ()


def test_only_words_of_at_most_100_characters_are_looked_for() -> None:
    looked_for: set[str] = set()

    def search(names: Collection[str]) -> Sequence[Hit]:
        looked_for.update(names)
        return []

    text = f"this.#secret({'x' * 101}, {'y' * 100});"
    find_second_sites([source("a.js", text, f"@@ -0,0 +1 @@\n+{text}")], search, lambda _: {})
    assert looked_for == {"y" * 100}


def test_files_beyond_2_million_characters_are_not_parsed() -> None:
    long = SHOP + "# " + "x" * 300_000
    callers = {f"shop{number}.py": long for number in range(9)}
    (site, *_) = find({"tax.py": TAX, **callers}, "tax.py", TAX_CHANGED)
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
    "a.go": ("package a\nfunc (b Box) area(side int) int { return side }", 2, "package a\nfunc f() { box.area(1) }"),
    "A.java": ("class Box {\n  int area(int side) { return side; } }", 2, "class B { int x = box.area(1); }"),
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
    assert summary(find(files, f"b{path}", f"@@ -0,0 +1,{last} @@\n{added}")) == [f"definition {name} {path}:{line}"]
    added = "\n".join(f"+{text}" for text in definition.split("\n"))
    assert summary(find(files, path, f"@@ -0,0 +1,9 @@\n{added}")) == [f"call {name} b{path}:{last}"]


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
    sites = find_second_sites(
        changed, lambda _: [Hit("tax.py", 1, "tax")], lambda paths: {at: files[at] for at in paths}
    )
    assert summary(sites) == ["definition tax tax.py:1"]

"""The lines around the hunks of a change, and the other places with its names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from hls_handler.git.mirror import Hit
from hls_handler.review.changed_names import ChangedText, list_names, list_searched
from hls_handler.review.code_lines import CodeLines
from hls_handler.review.neighbourhood import Search, choose_extents
from hls_handler.review.patches import parse_patch
from hls_handler.review.source_text import SourceText
from tests.handlers.world import compare

SCHEMA = "CREATE TABLE orders (\n    id integer,\n    paid_at timestamp\n);\n"


class Change(NamedTuple):
    name: str
    path: str
    files: Mapping[str, str]  # after the change
    patch: str
    needs: str


def load_changes() -> list[Change]:
    content = yaml.safe_load(Path(__file__).with_name("neighbourhoods.yaml").read_text("utf-8"))
    changes: list[Change] = []
    for language, repository in content.items():
        for kind, (*path, old, new, needs) in repository["changes"].items():
            changed = "".join(path) or repository["path"]
            if kind == "column" and not path:
                changed = "db/schema.sql"
            before = {**repository["files"], "db/schema.sql": SCHEMA}
            assert f"{old}\n" in before[changed]
            after = {**before, changed: before[changed].replace(f"{old}\n", f"{new}\n", 1)}
            texts = (one[changed].rstrip("\n").split("\n") for one in (before, after))
            patch = compare(changed, *texts).patch or ""
            name = f"{language} {kind}"
            changes.append(Change(name, changed, after, patch, f"{repository['in']}: {needs}"))
    return changes


def changed_text(path: str, text: str, patch: str) -> ChangedText:
    return ChangedText(SourceText(path, text), parse_patch(patch))


def find_words(files: Mapping[str, str], words: Sequence[str]) -> list[Hit]:
    pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, words))})(?!\w)")
    return [
        Hit(path, number, line[:400])
        for path, text in files.items()
        for number, line in enumerate(text.split("\n"), 1)
        if pattern.search(line)
    ]


def find_places(
    files: Mapping[str, str], path: str, patch: str, *, tokens: int = 6_000
) -> tuple[CodeLines, ...]:
    """Return the places for a patch of one file of a repository with `files` after the change."""
    changed = [changed_text(path, files.get(path, ""), patch)]
    names = list_names(changed)
    search = Search(names, changed, find_words(files, list_searched(names)))
    search.rank({other: files[other] for other in search.list_paths()})
    shown = {line.number for line in changed[0].patch.lines if line.side == "RIGHT"}
    return search.choose({path: shown}, tokens)


def list_lines(sites: Sequence[CodeLines]) -> set[str]:
    return {f"{site.path}: {line[9:].strip()}" for site in sites for line in site.text.split("\n")}


@pytest.mark.parametrize("change", load_changes(), ids=lambda change: change.name)
def test_the_place_that_a_change_of_a_language_concerns_is_shown_and_no_namesake(
    change: Change,
) -> None:
    sites = find_places(change.files, change.path, change.patch)
    assert change.needs in list_lines(sites), [(site.kind, site.name, site.path) for site in sites]
    assert not [site.path for site in sites if "wine" in site.path]


def around(text: str, patch: str, *, path: str = "a.py") -> list[int]:
    return sorted(choose_extents([changed_text(path, text, patch)], tokens=4_000)[path])


def test_a_short_file_is_shown_as_a_whole_and_of_a_longer_one_the_method_and_its_class() -> None:
    def long_class(methods: int) -> str:
        """A class whose method number n, counted from 0, begins on line 4 + 5n."""
        lines = ["import os", "", "class Cart:"]
        for number in range(methods):
            lines += [f"    def step_{number}(self):", *[f"        x = {number}"] * 3, ""]
        return "\n".join(lines)

    patch = "@@ -16 +16 @@\n-        x = 3\n+        x = 2"
    assert around(long_class(10), patch.replace("16", "15")) == [
        number for number in range(1, 53) if number != 15
    ]
    numbers = around(long_class(60), patch.replace("16", "151"))
    assert numbers[0] == 3
    assert set(numbers[1:]) >= {149, 150, 152}
    assert len(numbers) < 20


def test_of_a_long_function_more_of_what_follows_is_shown() -> None:
    text = "\n".join(["def run():", *(f"    x = {number}" for number in range(400))])
    numbers = around(text, "@@ -200 +200 @@\n-    x = 0\n+    x = 198")
    assert numbers[0] == 1
    assert (numbers[1], numbers[-1]) == (169, 248)
    assert len(numbers) == 80


def test_of_a_test_less_is_shown_and_no_whole_file() -> None:
    text = "\n".join(["def test_run():", *(f"    x = {number}" for number in range(100))])
    patch = "@@ -50 +50 @@\n-    x = 0\n+    x = 48"
    assert len(around(text, patch, path="tests/test_a.py")) == 25


def test_extents_shrink_evenly_and_short_files_are_whole_while_there_is_room() -> None:
    text = "\n".join(["def run():", *(f"    x = {number}" for number in range(200))])
    patch = "@@ -50 +50 @@\n-    x = 0\n+    x = 48"
    short = "\n".join(f"x = {number}" for number in range(60))
    changed = [changed_text(path, text, patch) for path in ("a.py", "b.py")]
    changed.append(changed_text("c.py", short, "@@ -50 +50 @@\n-x = 0\n+x = 49"))
    extents = choose_extents(changed, 700)
    assert [len(extents[path]) for path in ("a.py", "b.py", "c.py")] == [50, 50, 0]
    assert [len(extents) for extents in choose_extents(changed, 1_000).values()] == [80, 80, 0]
    assert [len(extents) for extents in choose_extents(changed, 1_400).values()] == [80, 80, 59]


def test_lines_that_only_moved_or_were_indented_have_no_names() -> None:
    before = "total = tax_of(price)\nprint(total)\n"
    after = "print(total)\nif price:\n    total = tax_of(price)\n"
    patch = compare("a.py", before.split("\n"), after.split("\n")).patch or ""
    names = list_names([changed_text("a.py", after, patch)])
    assert [name.text for name in names] == ["price"]


def test_called_functions_come_before_other_names_of_added_lines() -> None:
    patch = "@@ -1,0 +1 @@\n+total = price + tax_of(value)"
    names = list_names([changed_text("a.py", "total = price + tax_of(value)\n", patch)])
    assert [name.text for name in names] == ["tax_of", "price", "total"]


TAX = "def tax_of(price):\n    return price\n"
TAX_CHANGED = "@@ -1,2 +1,2 @@\n def tax_of(price):\n-    return 1\n+    return price"


def test_of_a_frequent_name_only_its_single_definition_is_shown() -> None:
    users = {f"{number}.py": f"x = tax_of({number})\n" for number in range(13)}
    assert find_places({"tax.py": TAX, **users}, "tax.py", TAX_CHANGED) == ()
    user = "@@ -1 +1 @@\n-x = 0\n+x = tax_of(0)"
    (site,) = find_places({"tax.py": TAX, **users}, "0.py", user)
    assert (site.kind, site.path, site.sources) == ("definition", "tax.py", ("0.py",))
    assert find_places({"tax.py": TAX, "wine.py": TAX, **users}, "0.py", user) == ()


def test_at_most_three_places_of_a_name_are_shown_tests_last() -> None:
    users = {f"shop/{number}.py": f"x = tax_of({number})\n" for number in range(3)}
    users["tests/test_tax.py"] = "assert tax_of(1)\n"
    sites = find_places({"tax.py": TAX, **users}, "tax.py", TAX_CHANGED)
    assert [site.path for site in sites] == ["shop/0.py", "shop/1.py", "shop/2.py"]
    users = {"tests/test_tax.py": "assert tax_of(1)\n"}
    (site,) = find_places({"tax.py": TAX, **users}, "tax.py", TAX_CHANGED)
    assert site.path == "tests/test_tax.py"


def test_places_fit_into_their_tokens_and_lines_that_are_shown_are_left_out() -> None:
    caller = "\n".join(["def total():", *["    x = 1"] * 100, "    return tax_of(1)", ""])
    files = {"tax.py": TAX, "cart.py": caller}
    (site,) = find_places(files, "tax.py", TAX_CHANGED)
    assert site.text.count("\n") == 30  # with the first line of the function
    assert find_places(files, "tax.py", TAX_CHANGED, tokens=100) == ()
    both = f"{TAX}x = tax_of(1)\n"
    patch = f"{TAX_CHANGED}\n x = tax_of(1)".replace("1,2", "1,3")
    assert find_places({"tax.py": both}, "tax.py", patch) == ()


def test_common_words_are_searched_only_if_the_change_defines_or_imports_them() -> None:
    files = {"a.py": "x = cache.get(1)\n", "cache.py": "def get(key):\n    return key\n"}
    patch = "@@ -0,0 +1 @@\n+x = cache.get(1)"
    assert find_places(files, "a.py", patch) == ()
    imported = "from cache import get\nx = get(1)\n"
    patch = "@@ -1 +1,2 @@\n from cache import get\n+x = get(1)"
    (site,) = find_places({**files, "a.py": imported}, "a.py", patch)
    assert (site.kind, site.path, site.line) == ("definition", "cache.py", 1)


def test_other_uses_of_a_field_are_those_of_its_class() -> None:
    text = "class A:\n    def put(self):\n        self.size = 1\n" + "    x = 1\n" * 300
    text += "    def get(self):\n        return self.size\n\n\nclass B:\n    def get(self):\n"
    patch = "@@ -3 +3 @@\n-        self.size = 0\n+        self.size = 1"
    (site,) = find_places({"a.py": f"{text}        return self.size\n"}, "a.py", patch)
    assert (site.kind, site.name, site.line) == ("use", "self.size", 305)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "a.go",
            "func (s *A) Put() {\n\ts.size = 1\n}\n@\nfunc (s *A) Get() {\n\tuse(s.size)\n}\n\nfunc (s *B) Put() {\n\ts.size = 2\n}\n",
        ),
        (
            "a.rs",
            "impl A {\n    self.size = 1;\n}\n@\nimpl Show for A {\n    use(self.size);\n}\n\nimpl B {\n    self.size = 2;\n}\n",
        ),
    ],
)
def test_methods_of_a_type_need_not_stand_together(path: str, text: str) -> None:
    line = text.split("\n")[1]
    patch = f"@@ -2 +2 @@\n-old\n+{line}"
    (site,) = find_places({path: text.replace("@", "\n" * 300)}, path, patch)
    assert "use(s" in site.text


@pytest.mark.parametrize(
    "head",
    [
        "impl<'de> Visitor<'de> for Walker {",
        "impl From<&str> for Walker {",
        "impl<T> Iterator for &mut Walker<T> {",
        "impl<F: Fn(u8) -> u8> Walker<F> {",
        "impl super::Walker {",
        "unsafe impl<T: Into<String>> Walker<T> where T: Send {",
    ],
)
def test_type_of_methods_in_rust_is_what_they_are_for(head: str) -> None:
    assert SourceText("a.rs", f"{head}\n    x\n}}\n").scopes[2] == "Walker"


def test_field_of_one_type_is_not_looked_for_in_another_changed_one() -> None:
    of = "func (s *{0}) Put() {{\n\ts.calls = {1}\n}}\n"
    text = of.format("A", 1) + "func (s *B) Run() {\n\tprintIt(3)\n}\n" + "\n" * 300
    text += of.format("A", 2) + of.format("B", 3)
    patch = "@@ -2 +2 @@\n-old\n+\ts.calls = 1\n@@ -5 +5 @@\n-\tprintIt(2)\n+\tprintIt(3)"
    fields = [s.line for s in find_places({"a.go": text}, "a.go", patch) if s.name == "s.calls"]
    assert fields == [308]


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("import { update } from './order-store'", "order-store.ts"),
        ("import { update } from './store'", "store/index.ts"),
    ],
)
def test_import_names_a_file_or_its_folder(line: str, path: str) -> None:
    files = {"app.ts": f"{line}\nupdate(order)\n", path: "export function update(order) {\n}\n"}
    patch = f"@@ -1 +1,2 @@\n {line}\n+update(order)"
    (site,) = find_places(files, "app.ts", patch)
    assert site.path == path


@pytest.mark.parametrize("name", ["orders", "public.orders", '"public"."orders"', "[dbo].[orders]"])
def test_indexes_of_a_table_are_found_by_its_name(name: str) -> None:
    schema = f"CREATE TABLE {name} (\n    id int\n);\nCREATE INDEX by_id ON {name} (id);\n"
    files = {"m.sql": f"ALTER TABLE {name} ADD x int;\n", "schema.sql": schema}
    patch = f"@@ -0,0 +1 @@\n+ALTER TABLE {name} ADD x int;"
    assert f"schema.sql: CREATE INDEX by_id ON {name} (id);" in list_lines(
        find_places(files, "m.sql", patch)
    )


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("using var lease = pool.AcquireLease(5);", ["AcquireLease"]),
        ("using Acme.Pricing;", []),
        ("from archived_invoices", ["archived_invoices"]),
        ("from app.pricing import price_of", []),
    ],
)
def test_imports_are_told_from_code(line: str, names: list[str]) -> None:
    changed = changed_text("a.x", f"{line}\n", f"@@ -0,0 +1 @@\n+{line}")
    found = [name.text for name in list_names([changed]) if name.text in {*names, "Acme", "app"}]
    assert found == names


def test_common_word_that_is_imported_is_looked_for_in_the_file_of_its_import() -> None:
    files = {
        "a.py": "from mail.queue import push\npush(1)\n",
        "mail/queue.py": "def push(x):\n    pass\n",
        "stack.py": "class Stack:\n    def push(self, x):\n        push(x)\n",
    }
    patch = "@@ -1 +1,2 @@\n from mail.queue import push\n+push(1)"
    (site,) = find_places(files, "a.py", patch)
    assert (site.kind, site.path) == ("definition", "mail/queue.py")
    assert find_places({**files, "mail/queue.py": ""}, "a.py", patch) == ()


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("b.ts", "put() {\n  this.#size = 1;\n}\n"),
        ("a.go", "func (s *Store) Put() {\n\ts.size = 1\n}\n"),
        ("a.rb", "def put\n  @size = 1\nend\n"),
        ("a.php", "function put() {\n    $this->size = 1;\n}\n"),
        ("a.ts", "put() {\n  this.size = 1;\n}\n"),
    ],
)
def test_fields_are_written_in_the_way_of_their_language(path: str, line: str) -> None:
    patch = f"@@ -2 +2 @@\n-old\n+{line.split(chr(10))[1]}"
    text = line + "\n\n" * 200 + line.replace("put", "reset").replace("Put", "Reset")
    (site,) = find_places({path: text}, path, patch)
    assert (site.kind, site.line) == ("use", 405)


@pytest.mark.parametrize(
    "line",
    [
        part * 5_000
        for part in ("a ", "(", '"', "a::", "a.b/", "static ", "x: ", "\t", "f(", "'{", "<")
    ],
)
def test_hostile_lines_do_not_take_long(line: str) -> None:
    text = f"def run():\n    {line}\n{line}\n" * 20
    patch = "@@ -0,0 +1,60 @@\n" + "\n".join(f"+{one}" for one in text.split("\n")[:-1])
    names = list_names([changed_text("a.py", text, patch)])
    find_places({"a.py": text, "b.py": text}, "a.py", patch)
    assert len(names) <= 150


DEFINED = [f"def run_{number}(a, b):" for number in range(5_000)]
EARLIER = [f"def run_{number}(a):" for number in range(5_000)]
NOTHING: list[str] = []


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [(EARLIER, NOTHING, 150), (NOTHING, DEFINED, 150), (EARLIER, DEFINED, 150)],
    ids=["removed", "added", "changed"],
)
def test_long_changes_do_not_take_long(before: list[str], after: list[str], names: int) -> None:
    lines = [*(f"-{line}" for line in before), *(f"+{line}" for line in after)]
    header = f"@@ -1,{len(before)} +1,{len(after)} @@"
    changed = changed_text("a.py", "\n".join(after), "\n".join([header, *lines]))
    choose_extents([changed], 4_000)
    assert len(list_names([changed])) == names

"""Error messages for prompt authors: all problems together, with file, line and the most similar
known name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hls_handler.errors import PromptError
from hls_handler.prompting.front_matter import Problem
from hls_handler.prompting.library import load_library
from hls_handler.prompting.source_files import read_folder
from tests.prompting.samples import BASE, FAMILIES, FRONT, PLAIN, load, write


def problems(
    folder: Path, files: Mapping[str, str], chosen: frozenset[str] = frozenset()
) -> list[str]:
    """Return the messages, with paths relative to the library; [] if it loads."""
    write(folder, files)
    try:
        load_library(folder, families=FAMILIES, chosen=chosen)
    except PromptError as exc:
        return [problem.replace(f"{folder.as_posix()}/", "") for problem in exc.problems]
    return []


def front(**keys: str) -> str:
    lines = {"description": "A test", "on": "[issues.opened]", "reply": "issue_analysis", **keys}
    return "---\n" + "".join(f"{key}: {value}\n" for key, value in lines.items()) + "---\n"


CHAIN = {
    "issues/first.j2": (
        front(then="{prompt: issues/second.j2, when: \"analysis.kind == 'question'\"}")
        + "A {{ issue.title }}"
    ),
    "issues/second.j2": (
        "---\ndescription: second\nreply: issue_response\n---\nB {{ analysis.summary }}"
    ),
}


FIELDS = (
    "{component: {enum: [payments, none]}, areas: {type: list, enum: [api, docs]}, regression:"
    " {type: boolean}, version: {type: string}, versions: {type: list}, count: {type: integer}}"
)


def test_each_mistake_has_its_line_and_message(tmp_path: Path) -> None:
    wrong = []
    examples = (Path(__file__).parent / "rejected.txt").read_text(encoding="utf-8").split("\n")
    for number, example in enumerate(line for line in examples if line and line[0] != "#"):
        line, _, message = example.partition("  # ")
        key, is_key, value = line.partition(": ")
        fields = {"fields": FIELDS} if key == "labels" else {}
        text = (
            f"{front(**fields, **{key: value})}x"
            if is_key and key.isidentifier()
            else front() + line
        )
        found = problems(tmp_path / str(number), {"base.j2": BASE, "issues/a.j2": text})
        if found != ([f"issues/a.j2:{message}"] if message else []):
            wrong.append((line, found))
    assert wrong == []


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("---\ndescription: x\non: issues.opened\n---\nx", "1: reply: is missing; expected text"),
        (
            "---\ndescription: x\nreply: issue_analysis\n---\nx",
            (
                "1: the prompt has no event; add on: [issues.opened], or name this prompt in"
                " another prompt's then"
            ),
        ),
        (
            front(reply="issue_analysis\nreply: x") + "x",
            "5: reply: written twice, first in line 4; remove one",
        ),
        (
            front(reply="issue_response", fields="{answer: {type: string}}") + "x",
            (
                "5: fields.answer: this is already a field of issue_response, of which none can be"
                " changed; choose another name"
            ),
        ),
        ("---\n- issues\n---\nx", "2: the front matter has no keys; write `key: value`"),
        (
            front() + "{% extends 'base.j2' %}\n" + "{% block task %}x{% endblock %}" * 2,
            "7: block 'task' defined twice (tried with a bug)",
        ),
    ],
)
def test_problem_of_one_prompt_is_reported(tmp_path: Path, template: str, message: str) -> None:
    assert problems(tmp_path, {"base.j2": BASE, "issues/a.j2": template}) == [
        f"issues/a.j2:{message}"
    ]


def extending(system: str, before: str, on: str = "[issues.opened]") -> str:
    return (
        f"{front(on=on)}{{% extends 'base.j2' %}}{before}{{% block system %}}{system}{{%"
        " endblock %}"
    )


@pytest.mark.parametrize(
    ("name", "text", "messages"),
    [
        (
            "issues/x.comment.md.j2",
            "x",
            ["1: this is the comment template of issues/x.j2, which does not exist"],
        ),
        (
            "issues/plain.comment.md.j2",
            FRONT + "x",
            ["1: the file has front matter, but is not a prompt; "],
        ),
        (
            "issues/plain.comment.md.j2",
            "\n{{ analysis.sumary }} {{ promt_id }}",
            [
                "2: analysis has no 'sumary'; did you mean 'summary'?",
                "2: unknown variable 'promt_id' (braces that are text stand between {% raw %} and",
            ],
        ),
        (
            "issues/part.j2",
            "a part",
            ["1: the file has no front matter, and no shipped prompt has its path; "],
        ),
        (
            "_a.j2",
            "\n{% include '_a.j2' %}",
            ["2: the templates form a cycle: '_a.j2' leads back to '_a.j2'"],
        ),
        (
            "issues/plain.j2",
            extending("{{ t }}", "{% set t = issue.title %}") + "{% block task %}x{% endblock %}",
            [
                (
                    "6: the system block shows text from an event, but it must be the same for all"
                    " events; "
                )
            ],
        ),
        (
            "issues/plain.j2",
            extending("{{ n }}", "{% set n = issue.number %}", "[issues]")
            + "{% block task %}x{% endblock %}",
            ["1: the system block is not the same for a bug and for an empty one; "],
        ),
    ],
)
def test_problems_of_a_file_are_reported(
    tmp_path: Path, name: str, text: str, messages: list[str]
) -> None:
    found = [
        problem.removeprefix(f"{name}:") for problem in problems(tmp_path, PLAIN | {name: text})
    ]
    assert [
        problem[: len(message)] for problem, message in zip(found, messages, strict=True)
    ] == messages


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("first", "kind", "knid", "5: then.when: analysis has no 'knid'; did you mean 'kind'?"),
        (
            "first",
            "kind == 'question'",
            "a && b",
            "5: then.when: unexpected char '&' at 14; a tag ",
        ),
        ("first", "kind == 'question'", "summary > 3", "5: then.when: '<' not supported between "),
        ("second", "B ", "{{ analysis.knid }}", "5: analysis has no 'knid'; did you mean 'kind'?"),
        ("second", "B ", "{{ 1 / 0 }}", "5: division by zero (tried with a bug)"),
    ],
)
def test_problems_of_a_chain_are_reported(
    tmp_path: Path, name: str, before: str, after: str, message: str
) -> None:
    file = f"issues/{name}.j2"
    (found,) = problems(
        tmp_path, {"base.j2": BASE, **CHAIN, file: CHAIN[file].replace(before, after)}
    )
    assert found.startswith(f"{file}:{message}")


def test_missing_base_and_a_shared_event_are_reported(tmp_path: Path) -> None:
    (found,) = problems(tmp_path / "a", {"issues/plain.j2": PLAIN["issues/plain.j2"]})
    assert found == "base.j2:1: the file is missing; it contains the system message of every prompt"
    (found,) = problems(tmp_path / "b", PLAIN | {"issues/other.j2": PLAIN["issues/plain.j2"]})
    assert (
        found == "issues/plain.j2:3: on: issues.opened is also in issues/other.j2; "
        "remove it from one, or set prompts.use: {issues.opened: issues/plain} in the settings"
    )


def test_all_problems_are_reported_together_sorted_by_file_and_line(tmp_path: Path) -> None:
    files = {
        "base.j2": BASE,
        "issues/a.j2": front(reply="poem", modle="x") + "{{ isue.title }}\n{{ issue.bdoy }}",
        "issues/b.j2": front(on="[issues.edited]") + "{% if %}",
        "issues/c.j2": front(on="[issues.reopened]") + "{{ event.nothing }}",
        "issues/d.comment.md.j2": "x",
    }
    assert [problem.partition(": ")[0] for problem in problems(tmp_path, files)] == [
        "issues/a.j2:4",
        "issues/a.j2:5",
        "issues/a.j2:7",
        "issues/a.j2:8",
        "issues/b.j2:6",
        "issues/c.j2:6",
        "issues/d.comment.md.j2:1",
    ]


@pytest.mark.parametrize("chosen", ["issues.opened", "issues"])
def test_two_prompts_may_share_an_event_if_settings_choose_one(tmp_path: Path, chosen: str) -> None:
    files = PLAIN | {"issues/other.j2": PLAIN["issues/plain.j2"]}
    assert problems(tmp_path, files, chosen=frozenset({chosen})) == []


def test_two_prompts_may_share_an_event_if_one_follows_the_other(tmp_path: Path) -> None:
    second = front(reply="issue_response") + "B {{ issue.title }}"
    assert problems(tmp_path, {"base.j2": BASE, **CHAIN, "issues/second.j2": second}) == []


def test_unreadable_files_and_folders_are_reported(tmp_path: Path) -> None:
    write(tmp_path, PLAIN)
    (tmp_path / "_bytes.j2").write_bytes(b"\xff\xfe")
    (tmp_path / "_gone.j2").symlink_to(tmp_path / "gone")
    assert problems(tmp_path, {}) == [
        "_bytes.j2:1: the file is not UTF-8; save it as UTF-8",
        "_gone.j2:1: the file cannot be read: No such file or directory",
    ]
    # A file in place of the folder gives an error also for root, who may read every folder.
    assert read_folder(tmp_path / "base.j2").problems == [
        Problem(f"{tmp_path.as_posix()}/base.j2", 1, "this folder cannot be read: Not a directory")
    ]


def test_unknown_block_is_reported_with_the_most_similar_name(tmp_path: Path) -> None:
    """Jinja would ignore the block, and Claude would be asked something else."""
    frame = (
        "{% extends 'base.j2' %}\n{% block task %}{% block question %}Why?{% endblock %}{%"
        " endblock %}"
    )
    own = f"{FRONT}{{% extends 'frame.j2' %}}\n{{% block qestion %}}How?{{% endblock %}}"
    with pytest.raises(PromptError) as caught:
        load(tmp_path, {"frame.j2": frame, "issues/a.j2": own})
    message = "no template that this one extends has a block 'qestion'; did you mean 'question'?"
    assert caught.value.problems == (f"{tmp_path.as_posix()}/issues/a.j2:7: {message}",)


def test_new_blocks_inside_of_known_blocks_are_allowed(tmp_path: Path) -> None:
    inner = "{% block mine %}{% block inner %}x{% endblock %}{% endblock %}"
    own = f"{{% extends 'base.j2' %}}{{% block task %}}{inner}{{% endblock %}}"
    assert problems(tmp_path, {"base.j2": BASE, "issues/a.j2": FRONT + own}) == []


@pytest.mark.parametrize(
    "front_matter", ["---\n---\n", "---\n# later\n---\n", "---\nmodel: x\n---\n"]
)
def test_all_missing_keys_of_a_front_matter_are_named_at_once(
    tmp_path: Path, front_matter: str
) -> None:
    assert problems(tmp_path, {"base.j2": BASE, "issues/a.j2": f"{front_matter}x"}) == [
        "issues/a.j2:1: description: is missing; expected text",
        "issues/a.j2:1: reply: is missing; expected text",
        (
            "issues/a.j2:1: the prompt has no event; add on: [issues.opened], or name this prompt"
            " in another prompt's then"
        ),
    ]


OUTSIDE = (
    "text outside of blocks is not sent; move it into a block, or remove {% extends %} and the tags"
    " of the blocks"
)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("{% extends 'base.j2' %}\n\nSort it.\n{% block task %}x{% endblock %}", [8]),
        ("{% extends 'base.j2' %}{% block task %}x{% endblock %}\n{% include '_part.j2' %}", [7]),
        ("{% extends 'base.j2' %}\n{% if issue.body %}\n{{ issue.body }}{% endif %}", [8]),
        ("Sort it.\n{% extends 'base.j2' %}{% block task %}x{% endblock %}\ny", [6, 8]),
        ("Sort it.\n{% block task %}x{% endblock %}", [6]),
        (
            (
                "{# Why #}\n{% extends 'base.j2' %}\n{% from '_part.j2' import m %}\n{% set a = 1 %}\n"
                "{% set b %}y{% endset %}\n{% macro n() %}z{% endmacro %}\n"
                "{% if a %}\n  {% set c = 2 %}\n{% endif %}\n{% block task %}{{ b }}{% endblock %}\n"
            ),
            [],
        ),
        ("Sort it.\n{% block mine %}x{% endblock %}", []),
    ],
)
def test_text_that_blocks_leave_out_is_an_error(
    tmp_path: Path, text: str, lines: list[int]
) -> None:
    """Claude would never be shown it, and a trial would compare two equal prompts."""
    files = {
        "base.j2": BASE,
        "_part.j2": "{% macro m() %}{% endmacro %}",
        "issues/a.j2": FRONT + text,
    }
    assert problems(tmp_path, files) == [f"issues/a.j2:{line}: {OUTSIDE}" for line in lines]

"""docs/safety.md promises nothing that no test keeps."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py::[\w:]+)`", DOCUMENT)))
INVARIANTS = [f"I{number}" for number in range(1, 13)]
CODE_OF_PROOF = [
    path
    for folder in ("tests", "chaos")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__).resolve()
]


@cache
def names_in(path: str) -> frozenset[str]:
    """The tests of a file by their names; of a class as ``Class::name``."""
    found: set[str] = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return frozenset(found)


def rows_of(heading: str) -> list[list[str]]:
    """The cells of each row of the table under a heading."""
    section = DOCUMENT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("named", NAMED)
def test_every_test_the_document_names_exists(named: str) -> None:
    path, _, name = named.partition("::")
    assert (ROOT / path).is_file(), path
    assert name in names_in(path), name


def test_every_fault_of_the_table_names_a_test() -> None:
    rows = rows_of("What goes wrong, and what happens then")
    assert len(rows) > 40
    for row in rows:
        assert len(row) == 3, row
        assert re.fullmatch(r"(`tests/[\w/]+\.py::[\w:]+` ?)+", row[2]), row


def test_every_invariant_is_stated_with_what_enforces_it() -> None:
    rows = rows_of("The invariants")
    assert [row[0] for row in rows] == INVARIANTS
    for row in rows:
        assert all(row[1:]), row
    for path in re.findall(r"`((?:agent|app)/[\w/]+\.py)`", DOCUMENT):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("invariant", INVARIANTS)
def test_every_invariant_is_named_by_what_proves_it(invariant: str) -> None:
    name = re.compile(rf"\b{invariant}\b")
    assert any(name.search(path.read_text(encoding="utf-8")) for path in CODE_OF_PROOF)

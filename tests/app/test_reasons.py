"""Every reason the agent's code can give has words, and every word of the server's own commands too."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask_babel import force_locale

from app.executions.proposals import head_of
from app.told import told_words

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "agent" / "decision.py", *sorted((ROOT / "agent" / "fixers").glob("*.py"))]
REASON_AT = {"AttemptEnded": 1, "Decision": 1, "_human": 0}
"""What ends an attempt or decides, and which of its arguments is the reason."""


def reasons() -> list[str]:
    """Return every constant reason in the source; what is filled in at run time is ``X9``."""
    trees = [ast.parse(path.read_text()) for path in SOURCES]
    named = {name: text for tree in trees for name, text in _constants(tree)}
    calls = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    found = {text for call in calls if (text := _reason_of(call, named))}
    return sorted(found | {text for tree in trees for text in _returned(tree, named)})


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            text = _text(node.value, {})
            if text is not None:
                yield node.target.id, text


def _reason_of(call: ast.Call, named: dict[str, str]) -> str | None:
    at = REASON_AT.get(call.func.id) if isinstance(call.func, ast.Name) else None
    return None if at is None or len(call.args) <= at else _text(call.args[at], named)


def _returned(tree: ast.Module, named: dict[str, str]) -> Iterator[str]:
    """The reasons of ``return outcome, reason``."""
    for node in ast.walk(tree):
        pair = node.value if isinstance(node, ast.Return) else None
        if isinstance(pair, ast.Tuple) and len(pair.elts) == 2:
            outcome, reason = (_text(each, named) for each in pair.elts)
            if outcome in ("resume", "wait", "human") and reason:
                yield reason


def _text(node: ast.expr, named: dict[str, str]) -> str | None:
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.Name(id=name):
            return named.get(name)
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, named) or "X9" for part in parts)
        case ast.FormattedValue(value=ast.Name(id=name)):
            return named.get(name)
    return None


def test_the_reasons_are_found_in_the_source() -> None:
    assert {"mismatch", "insufficient balance", "read back: X9", "this agent does not offer X9"} <= {
        *reasons()
    }


HEADS = sorted({head_of(one) for one in reasons()} - {*reasons()})
"""What an alert tells, and by which the queue counts: reasons without what production said."""


@pytest.mark.parametrize("reason", [*reasons(), *HEADS, "the wait is over", "demo", "its token file is lost"])
def test_every_reason_has_words_in_both_languages(app: Flask, reason: str) -> None:
    with force_locale("zh"):
        chinese = told_words(reason)
    with force_locale("en"):
        english = told_words(reason)
    filled = {"X9", "P", "read"}
    left = {part for part in reason.replace(":", " ").split() if part not in filled and part in chinese}
    assert (left, english == chinese) == (set(), False)


def test_a_failure_that_is_not_final_is_told_as_one_that_may_change(app: Flask) -> None:
    with app.test_request_context():
        assert told_words("bank: payout failed: E1001") == (
            "银行报出款失败（E1001），失败还可能变为成功，等待银行确定"
        )

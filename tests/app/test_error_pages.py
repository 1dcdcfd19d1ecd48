"""What a person sees when something is wrong: a page, or a note for htmx, in their language."""

import pytest
from flask import Flask

from tests.app.visitor import Visitor, visitor_of


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return visitor_of(app, "li.na", "viewer")


def test_a_page_that_is_not_there_says_so_inside_the_shell(visitor: Visitor) -> None:
    answer = visitor.get("/nonesuch")
    assert answer.status_code == 404
    assert "页面不存在" in answer.text
    assert 'id="side"' in answer.text


def test_a_fragment_that_is_not_there_is_a_note_in_the_corner(visitor: Visitor) -> None:
    answer = visitor.get("/audit/999", target="drawer")
    assert answer.status_code == 404
    assert (answer.headers["HX-Retarget"], answer.headers["HX-Reswap"]) == ("#toasts", "beforeend")
    assert "<html" not in answer.text


def test_a_fault_of_ours_tells_no_detail_and_needs_no_database(app: Flask, visitor: Visitor) -> None:
    def broken() -> str:
        raise RuntimeError("the secret of the trace")

    app.view_functions["audit.list_entries"] = broken
    app.config["PROPAGATE_EXCEPTIONS"] = False
    answer = visitor.get("/audit")
    assert answer.status_code == 500
    assert "服务器出错" in answer.text
    assert "secret of the trace" not in answer.text


def test_a_wrong_method_says_which_are_right(visitor: Visitor) -> None:
    answer = visitor.get("/logout")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert "不支持的操作" in answer.text

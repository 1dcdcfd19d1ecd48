"""Every text is translated, and every Chinese text of a template can be."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from jinja2 import Environment, nodes

from app.i18n import LANGUAGES
from app.presentation import ago, duration, local_time, money, pretty_json, pretty_sql, yuan
from app.reasons import reason_words
from deploy import translations
from tests.app.visitor import visitor_of
from tests.factories import NOW

APP = Path(__file__).resolve().parents[2] / "app"
TEMPLATES = APP / "templates"
CHINESE = re.compile(r"[\u3400-\u9fff\uff01-\uff5e]")
HAN = re.compile(r"[\u3400-\u9fff]")
"""Without punctuation, which a module chooses by the reader's language."""
CALLS = {"_", "gettext", "ngettext", "pgettext"}
BOTH_LANGUAGES = ("i18n.py", "monitor/charts.py", "plans/quartz_errors.py", "plans/quartz_words.py")
"""Modules that hold the English beside the Chinese, and choose."""
CHINESE_DATA = ("cli_demo.py", "plans/fixer_codes.py")
"""What a person could have typed: names of groups, descriptions of plans."""
LISTS = (
    *("/", "/exceptions", "/exceptions?tab=human", "/anomalies", "/collections", "/executions", "/plans"),
    *("/frames", "/agents", "/users", "/users/groups", "/audit", "/search?q=CO1", "/frames?type=x"),
)
FORMS = ("/collections/new", "/plans/new", "/agents/new", "/users/new", "/settings", "/plans/cron?cron=x")
WORD_FILTERS = {"ago", "cron_words", "duration", "event_words", "fixer_name", "local_time", "reason"}


def test_every_text_has_english() -> None:
    assert translations.untranslated() == []


def test_the_english_catalogue_fills_in_what_the_chinese_text_fills_in() -> None:
    placeholder = re.compile(r"%\((\w+)\)")
    for message in translations.read_english():
        if isinstance(message.id, str) and isinstance(message.string, str) and message.string:
            assert set(placeholder.findall(message.id)) == set(placeholder.findall(message.string)), (
                message.id
            )


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.name)
def test_no_chinese_stands_in_a_template_outside_a_translated_text(path: Path) -> None:
    assert [text for text in untranslatable(path.read_text()) if CHINESE.search(text)] == []


@pytest.mark.parametrize("path", sorted(APP.rglob("*.py")), ids=lambda path: path.relative_to(APP).as_posix())
def test_no_chinese_stands_in_a_module_outside_a_translated_text(path: Path) -> None:
    if path.relative_to(APP).as_posix() not in (*BOTH_LANGUAGES, *CHINESE_DATA):
        assert [text for text in untranslated_of(path.read_text()) if HAN.search(text)] == []


def untranslated_of(source: str) -> Iterator[str]:
    """Yield the texts of a module that are neither translated nor docstrings."""
    passed_over = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr):
            passed_over.add(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            passed_over.update(node.args)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in passed_over:
            yield node.value


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.name)
def test_no_words_are_chosen_when_a_template_is_compiled_in_the_first_readers_language(path: Path) -> None:
    tree = Environment(extensions=["jinja2.ext.i18n"]).parse(path.read_text())
    folded = [one.name for one in tree.find_all(nodes.Filter) if isinstance(one.node, nodes.Const)]
    assert WORD_FILTERS.intersection(folded) == set()


def untranslatable(source: str) -> list[str]:
    """Return the texts of a template that no translation reaches, the breadcrumbs' own mark apart."""
    tree = Environment(extensions=["jinja2.ext.i18n"]).parse(source)
    translated = {
        id(text)
        for call in tree.find_all(nodes.Call)
        if isinstance(call.node, nodes.Name) and call.node.name in CALLS
        for text in call.find_all(nodes.Const)
    }
    written = [data.data.replace("》", "") for data in tree.find_all(nodes.TemplateData)]
    constants = [
        const.value
        for const in tree.find_all(nodes.Const)
        if id(const) not in translated and isinstance(const.value, str)
    ]
    return written + constants


def test_english_pages_hold_no_chinese_of_ours(app: Flask) -> None:
    visitor = visitor_of(app, "li.na", "admin")
    visitor.post("/locale", {"locale": "en"})
    for url in (*LISTS, *FORMS, "/nonesuch"):
        page = visitor.get(url).text.replace(LANGUAGES["zh"], "").replace("中", "").replace("》", "")
        assert CHINESE.findall(page) == [], url


def test_times_are_shown_in_the_readers_zone(app: Flask) -> None:
    with app.test_request_context():
        assert local_time(NOW) == "2026-03-02 20:00:00"
        assert local_time("2026-03-02T12:00:00Z", "clock") == "20:00:00"
        assert ago(NOW) == "刚刚"
        assert ago("2026-03-02T11:57:00Z") == "3 分钟前"


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(12, "12 毫秒"), (1500, "1.5 秒"), (61_000, "1 分 1 秒"), (3_660_000, "1 小时 1 分"), (None, "—")],
)
def test_durations_are_told_in_two_units(app: Flask, milliseconds: int | None, words: str) -> None:
    with app.test_request_context():
        assert duration(milliseconds) == words


@pytest.mark.parametrize(
    ("minor", "shown"), [(0, "0.00"), (5, "0.05"), (123456789, "1,234,567.89"), (-150, "-1.50"), (None, "—")]
)
def test_fen_are_shown_as_yuan(minor: int | None, shown: str) -> None:
    assert yuan(minor) == shown


def test_money_shows_its_currency() -> None:
    assert (money(-150), money(100, "USD")) == ("-¥1.50", "USD 1.00")


def test_json_and_sql_are_marked_and_escaped() -> None:
    assert (
        '<span class="key">&#34;a&#34;</span>: <span class="text">&#34;&lt;b&gt;&#34;</span>'
        in pretty_json({"a": "<b>"})
    )
    assert pretty_json("not json <") == "not json &lt;"
    assert (
        pretty_sql("WHERE a='<'")
        == '<span class="word">WHERE</span> a=<span class="text">&#39;&lt;&#39;</span>'
    )


def test_a_known_reason_is_translated_and_an_unknown_one_kept(app: Flask) -> None:
    with app.test_request_context():
        assert reason_words("row behind ledger") == "账务已扣款，交易记录未跟上"
        assert reason_words("bank: 51") == "银行尚未给出确定结果，等待银行（51）"
        assert reason_words("something new") == "something new"

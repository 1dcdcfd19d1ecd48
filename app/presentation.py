"""Jinja filters and globals: money, times, states, reasons, code blocks. Nothing here reads the database."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Flask, request
from flask_login import current_user
from markupsafe import Markup, escape

from agent.facts import ROW_COLUMNS
from app import navigation, reasons, words
from app.clock import current_time
from app.i18n import choose_zone, language
from app.i18n import translate as _
from app.rendering import section_level
from app.usual_reasons import usual_reasons

DASH = "—"


def yuan(minor: int | None) -> str:
    """Return fen as yuan with thousands separators, without a sign of currency: 1,234.56; None is a dash."""
    if minor is None:
        return DASH
    sign = "-" if minor < 0 else ""
    whole, rest = divmod(abs(minor), 100)
    return f"{sign}{whole:,}.{rest:02d}"


def money(minor: int | None, currency: str = "CNY") -> str:
    """Return fen with the sign of their currency: ¥1,234.56; None is a dash, no currency no sign."""
    if minor is None:
        return DASH
    amount = yuan(abs(minor))
    sign = "-" if minor < 0 else ""
    return f"{sign}¥{amount}" if currency == "CNY" else f"{sign}{currency} {amount}".strip()


def masked(account: str) -> str:
    """Return an account without its middle: at most four characters at either end, half of it at most."""
    shown = min(4, len(account) // 4)
    return f"{account[:shown]} **** {account[len(account) - shown :]}".strip()


def moment(value: datetime | str | None) -> datetime | None:
    """Return an aware UTC moment, None for what is no time; text is ISO 8601, and naive means UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if value is None:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def local_time(value: datetime | str | None, style: str = "full") -> str:
    """Return a moment in the reader's zone. ``style``: full, minute, day, clock, input (datetime-local)."""
    at = moment(value)
    if at is None:
        return DASH
    formats = {
        "full": "%Y-%m-%d %H:%M:%S",
        "minute": "%Y-%m-%d %H:%M",
        "day": "%Y-%m-%d",
        "clock": "%H:%M:%S",
        "input": "%Y-%m-%dT%H:%M",
    }
    return at.astimezone(ZoneInfo(choose_zone())).strftime(formats[style])


def ago(value: datetime | str | None, now: datetime | None = None) -> str:
    """Return how long ago a moment was, in words; a moment to come is shown as local time."""
    at = moment(value)
    if at is None:
        return DASH
    seconds = int(((now or current_time()) - at).total_seconds())
    if seconds < 0:
        return local_time(at)
    if seconds < 5:
        return _("刚刚")
    if seconds < 60:
        return _("%(n)d 秒前", n=seconds)
    if seconds < 3600:
        return _("%(n)d 分钟前", n=seconds // 60)
    if seconds < 86400:
        return _("%(n)d 小时前", n=seconds // 3600)
    return _("%(n)d 天前", n=seconds // 86400)


def duration(value: float | timedelta | None) -> str:
    """Return a length of time in words; a number is milliseconds."""
    if value is None:
        return DASH
    milliseconds = value.total_seconds() * 1000 if isinstance(value, timedelta) else float(value)
    if milliseconds < 1000:
        return _("%(n)d 毫秒", n=round(milliseconds))
    seconds = milliseconds / 1000
    if seconds < 60:
        return _("%(n)s 秒", n=f"{seconds:.1f}".rstrip("0").rstrip("."))
    if seconds < 3600:
        return _("%(m)d 分 %(s)d 秒", m=seconds // 60, s=seconds % 60)
    if seconds < 86400:
        return _("%(h)d 小时 %(m)d 分", h=seconds // 3600, m=seconds % 3600 // 60)
    return _("%(d)d 天 %(h)d 小时", d=seconds // 86400, h=seconds % 86400 // 3600)


def size(count: int | None) -> str:
    """Return a number of bytes as B, KB or MB."""
    if count is None:
        return DASH
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MB"


def fixer_name(code: str | None) -> str:
    """Return what a fixer mends, in the reader's language; an unknown code is itself."""
    if code is None:
        return _("数据不合法（无修复代号）")
    return reasons.fixer_name(code)


_TOKEN = re.compile(r'("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null|-?\d+(?:\.\d+)?)\b')


def pretty_json(value: Any) -> Markup:
    """Return a value, or JSON text, indented and marked for cards.css (.code .key, .text, .word)."""
    if isinstance(value, bytes | str):
        try:
            value = json.loads(value)
        except ValueError:
            return escape(value if isinstance(value, str) else value.decode(errors="replace"))
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    marked, end = Markup(""), 0
    for match in _TOKEN.finditer(text):
        string, colon, word = match.groups()
        style = "key" if colon else "text" if string else "word"
        marked += escape(text[end : match.start()])
        marked += Markup('<span class="{}">{}</span>{}').format(style, string or word, colon or "")
        end = match.end()
    return marked + escape(text[end:])


_SQL = re.compile(r"\b(SELECT|FROM|WHERE|UPDATE|SET|AND|OR|IN|ORDER BY|LIMIT)\b|('(?:[^']|'')*')")


def pretty_sql(text: str) -> Markup:
    """Return SQL with its keywords and literals marked for cards.css."""
    marked, end = Markup(""), 0
    for match in _SQL.finditer(text):
        marked += escape(text[end : match.start()])
        style = "word" if match.group(1) else "text"
        marked += Markup('<span class="{}">{}</span>').format(style, match.group(0))
        end = match.end()
    return marked + escape(text[end:])


def iso(value: datetime | str | None) -> str:
    """Return a moment for the datetime attribute of <time>; '' for none."""
    at = moment(value)
    return "" if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def url_with(**changes: Any) -> str:
    """Return this page's URL with query parameters changed; None takes one out; other parameters stay."""
    arguments = request.args.copy()
    for name, value in changes.items():
        arguments.poplist(name)
        if value is not None:
            arguments[name] = str(value)
    query = urlencode(list(arguments.items(multi=True)))
    return request.path + (f"?{query}" if query else "")


def theme() -> str:
    """Return light, dark, or auto: what the person chose on this browser."""
    chosen = request.cookies.get("piculus_theme", "auto")
    return chosen if chosen in ("light", "dark") else "auto"


def init_app(app: Flask) -> None:
    """Add the filters and globals every template may use."""
    app.jinja_env.filters.update(
        yuan=yuan,
        money=money,
        masked=masked,
        local_time=local_time,
        ago=ago,
        duration=duration,
        size=size,
        iso=iso,
        fixer_name=fixer_name,
        reason=reasons.reason_words,
        event_words=reasons.event_words,
        pretty_json=pretty_json,
        pretty_sql=pretty_sql,
    )
    app.jinja_env.globals.update(
        look=words.look,
        word=words.word,
        choices=words.choices,
        url_with=url_with,
        theme=theme,
        zone=choose_zone,
        language=language,
        menu=navigation.MENU,
        place=navigation.place,
        usual_reasons=usual_reasons,
        section_level=section_level,
        user=current_user,
        ROW_COLUMNS=ROW_COLUMNS,
    )
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True

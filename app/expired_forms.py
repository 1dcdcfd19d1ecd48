"""A form that came with the token of an ended session: what was typed is shown and can be sent again."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Response, make_response, render_template, request
from flask_babel import lazy_gettext as _
from flask_login import current_user
from flask_wtf.csrf import CSRFError

from app.i18n import LANGUAGES, language
from app.presentation import fixer_name
from app.rendering import is_fragment_request
from app.words import WORDS, word

PASSWORD_FIELDS: Final = frozenset({"password", "current", "new", "repeated", "url"})
"""The fields that are typed blind: they are never sent back."""
_TOKEN: Final = "csrf_token"

_UNSEEN: Final = frozenset({"version", "seen", "code", "until", "all", "next"})
"""The fields nobody has typed: they are sent again, and not shown."""

LABELS: Final[Mapping[str, Any]] = {
    **WORDS["plan_parameter"],
    "cron": _("收集时间"),
    "codes": _("修复代号"),
    "display_name": _("姓名"),
    "end": _("到"),
    "group": _("系统组别"),
    "groups": _("系统组别"),
    "grouping_seconds": _("合并秒数"),
    "ids": _("异常"),
    "is_enabled": _("启用"),
    "is_plain_confirmed": _("地址不加密也使用"),
    "channel_kind": _("种类"),
    "kind": _("事件"),
    "kinds": _("事件"),
    "language": _("消息的语言"),
    "limit": _("超过多少元须由另一个人复核"),
    "reference": _("单号或出处"),
    "target": _("范围"),
    "least_level": _("最低方案等级"),
    "locale": _("语言"),
    "name": _("名称"),
    "quiet_from": _("免打扰从"),
    "quiet_to": _("免打扰到"),
    "reason": _("原因"),
    "role": _("角色"),
    "sees_all_groups": _("可见全部系统组别"),
    "silent_until": _("静默到"),
    "start": _("从"),
    "tells_recovery": _("恢复时也通知"),
    "theme": _("外观"),
    "trade_table": _("交易表"),
    "username": _("用户名"),
    "window": _("数据变更时间"),
    "window_hours": _("回看小时数"),
}
"""The words beside each field; another is shown by its name."""

_KINDS: Final = {
    "channel_kind": "channel_kind",
    "kind": "alert_kind",
    "kinds": "alert_kind",
    "least_level": "level",
    "level": "level",
    "mode": "mode",
    "role": "role",
    "state": "plan",
    "theme": "theme",
    "window": "window",
}
"""Whose words (app/words.py) the values of a field have."""


def show_expired_form(_error: CSRFError) -> Response:
    """Answer 400 with what was typed; htmx puts it into the dialog, so that the page behind stays.

    Whoever is logged in can send it again, unless it came from another site: then nobody here has typed it.
    """
    is_ours = "Origin" not in request.headers or urlsplit(request.headers["Origin"]).netloc == request.host
    is_known = bool(current_user.is_authenticated)
    fragment = is_fragment_request()
    typed = _typed() if is_ours else []
    answer = make_response(
        render_template(
            "errors/expired_dialog.html" if fragment else "errors/expired_page.html",
            frame="base.html" if is_known else "plain.html",
            typed=typed,
            shown=_shown(typed),
            url=request.full_path if request.query_string else request.path,
            can_send=is_known and is_ours and not PASSWORD_FIELDS & request.form.keys(),
            is_known=is_known,
        ),
        400,
    )
    if fragment:
        answer.headers.update({"HX-Retarget": "#dialog", "HX-Reswap": "innerHTML"})
    return answer


def _typed() -> list[tuple[str, str]]:
    """Name and value of each field in its order, without tokens and passwords."""
    kept = [name for name in request.form if name != _TOKEN and name not in PASSWORD_FIELDS]
    return [(name, value) for name in kept for value in request.form.getlist(name)]


def _shown(typed: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Label and words of each field, once a field; a field may have several values."""
    values: dict[str, list[str]] = {}
    for name, value in typed:
        if name not in _UNSEEN:
            values.setdefault(name, []).append(_words(name, value))
    mark = "、" if language() == "zh" else ", "
    return [(str(LABELS.get(name, name)), mark.join(some)) for name, some in values.items()]


def _words(name: str, value: str) -> str:
    if name in _KINDS:
        return word(_KINDS[name], value)
    if name in ("codes", "fixer_code"):
        return fixer_name(value)
    if name in ("is_enabled", "is_plain_confirmed", "sees_all_groups", "tells_recovery"):
        return str(_("是"))
    return LANGUAGES.get(value, value) if name in ("language", "locale") else value

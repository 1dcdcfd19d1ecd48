"""What a person sees when something went wrong, in their language: a page, or for htmx a note."""

import logging

from flask import Flask, Response, make_response, render_template, request
from flask_babel import force_locale
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError
from werkzeug.exceptions import HTTPException

from app.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, PiculusError
from app.expired_forms import show_expired_form
from app.extensions import db
from app.i18n import browser_locale
from app.i18n import translate as _
from app.messages import words
from app.rendering import is_fragment_request

log = logging.getLogger(__name__)

STATUS: dict[type[PiculusError], int] = {
    NotFoundError: 404,
    InvalidError: 400,
    ConflictError: 409,
    ForbiddenError: 403,
}
ICONS = {403: "lock", 404: "zoom-question", 429: "clock-pause", 500: "alert-triangle"}


def init_app(app: Flask) -> None:
    """Show every error of a request through this module."""
    app.register_error_handler(PiculusError, show_piculus_error)
    app.register_error_handler(CSRFError, show_expired_form)
    app.register_error_handler(DataError, show_unstorable)
    app.register_error_handler(HTTPException, show_http_error)
    app.register_error_handler(500, show_server_error)


def show_piculus_error(error: PiculusError) -> Response:
    """A service's error that its view did not put at a field."""
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 400)
    return _answer(status, words(error))


def show_unstorable(error: DataError) -> Response:
    """A value that does not fit its column, such as a number in a URL beyond PostgreSQL's integer."""
    log.warning("the database refused a value: %s", error.orig)
    # PostgreSQL answers nothing more in this transaction, and the page asks for the standing stops.
    db.session.rollback()
    return _answer(400)


def show_http_error(error: HTTPException) -> Response:
    """An error of Flask or Werkzeug."""
    if error.response is not None:
        return make_response(error.response)
    answer = _answer(error.code or 500)
    for name, value in error.get_headers(request.environ):
        if name not in ("Content-Type", "Content-Length"):
            answer.headers[name] = value
    return answer


def show_server_error(_error: Exception) -> Response:
    """A fault of ours; Flask has logged it. The database may be the cause, so nothing here asks it."""
    with force_locale(browser_locale() or "zh"):
        return _answer(500, asks_database=False)


def _answer(status: int, text: str = "", *, asks_database: bool = True) -> Response:
    title, usual_text = _texts(status)
    context = {"status": status, "title": title, "text": text or usual_text}
    if is_fragment_request():
        answer = make_response(render_template("errors/toast.html", **context), status)
        answer.headers.update({"HX-Retarget": "#toasts", "HX-Reswap": "beforeend"})
        return answer
    has_shell = asks_database and current_user.is_authenticated
    frame = "base.html" if has_shell else "plain.html"
    icon_name = ICONS.get(status, "alert-circle")
    return make_response(
        render_template("errors/page.html", frame=frame, icon_name=icon_name, **context), status
    )


def _texts(status: int) -> tuple[str, str]:
    known = {
        400: (_("请求不正确"), _("服务器看不懂这次请求，请返回后重试。")),
        403: (_("没有权限"), _("当前账号不能使用这个页面或操作；需要时请联系管理员。")),
        404: (_("没有找到"), _("页面不存在、已被删除，或没有权限查看。")),
        405: (_("不支持的操作"), _("这个地址不支持这种请求方式。")),
        409: (_("操作没有执行"), _("状态已经改变，请刷新后再看。")),
        413: (_("内容过大"), _("提交的内容超过了服务器允许的大小。")),
        429: (_("操作过于频繁"), _("请稍等一分钟再试。")),
        500: (_("服务器出错"), _("错误已记入服务器日志，请稍后再试。")),
    }
    return known.get(status) or (known[500] if status >= 500 else known[400])

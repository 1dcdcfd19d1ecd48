"""A form that came with the token of an ended session: what was typed is shown and can be sent again."""

from typing import Final
from urllib.parse import urlsplit

from flask import Response, make_response, render_template, request
from flask_login import current_user
from flask_wtf.csrf import CSRFError

from app.rendering import is_fragment_request

PASSWORD_FIELDS: Final = frozenset({"password", "current", "new", "repeated"})
"""The fields that are typed blind: they are never sent back."""
_TOKEN: Final = "csrf_token"


def show_expired_form(_error: CSRFError) -> Response:
    """Answer 400 with what was typed; htmx puts it into the dialog, so that the page behind stays.

    Whoever is logged in can send it again, unless it came from another site: then nobody here has typed it.
    """
    is_ours = "Origin" not in request.headers or urlsplit(request.headers["Origin"]).netloc == request.host
    is_known = bool(current_user.is_authenticated)
    fragment = is_fragment_request()
    answer = make_response(
        render_template(
            "errors/expired_dialog.html" if fragment else "errors/expired_page.html",
            frame="base.html" if is_known else "plain.html",
            typed=_typed() if is_ours else [],
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

"""How a page is answered: whole, as the fragment htmx asked for, in the drawer, or in the dialog.

One template serves both shapes of a detail or a dialog: it begins with ``{% extends frame %}``.
"""

import json
from typing import Any

from flask import Response, flash, make_response, redirect, render_template, request


def is_fragment_request() -> bool:
    """Return whether htmx wants a part of a page (not a boosted link, not its history)."""
    headers = request.headers
    return (
        headers.get("HX-Request") == "true"
        and headers.get("HX-Boosted") != "true"
        and headers.get("HX-History-Restore-Request") != "true"
    )


def render_list(page: str, fragment: str, /, status: int = 200, **context: Any) -> Response:
    """Answer with ``fragment`` for htmx, else with ``page``, which includes it."""
    template = fragment if is_fragment_request() else page
    return _varying(make_response(render_template(template, **context), status))


def render_detail(template: str, /, status: int = 200, **context: Any) -> Response:
    """Answer in the drawer where htmx targets it, else as a page. Blocks: line, title, body, foot."""
    frame = "_frames/drawer.html" if _targets("drawer") else "_frames/detail_page.html"
    return _varying(make_response(render_template(template, frame=frame, **context), status))


def render_dialog(template: str, /, status: int = 200, **context: Any) -> Response:
    """Answer in the dialog where htmx targets it, else as a page. Blocks: title, body, submit."""
    frame = "_frames/dialog.html" if _targets("dialog") else "_frames/dialog_page.html"
    return _varying(make_response(render_template(template, frame=frame, **context), status))


def render_notice(template: str, /, **context: Any) -> Response:
    """Answer with what is read once, after a write: in the dialog, else as a page. Blocks: title, body."""
    frame = "_frames/notice.html" if _targets("dialog") else "_frames/notice_page.html"
    response = make_response(render_template(template, frame=frame, **context))
    response.headers["HX-Trigger"] = "refresh"
    return _varying(response)


def section_level() -> int:
    """Return the level of a detail's headings: 2 below a page's own title, 3 below a drawer's or dialog's."""
    return 3 if _targets("drawer") or _targets("dialog") else 2


def finish(message: str, url: str, *, level: str = "success", moves: bool = False) -> Response:
    """Answer a write that succeeded: say ``message`` and go on at ``url``.

    htmx gets 204 with events: the dialog closes, lists refresh, a toast shows; with ``moves`` it goes to
    ``url``.
    Without htmx: flash and redirect.
    """
    if is_fragment_request() and not moves:
        events = {"closeDialog": True, "refresh": True, "toast": {"level": level, "text": message}}
        return Response(status=204, headers={"HX-Trigger": json.dumps(events)})
    flash(message, level)
    if is_fragment_request():
        return Response(status=204, headers={"HX-Redirect": url})
    return make_response(redirect(url, 303))


def _targets(name: str) -> bool:
    return is_fragment_request() and request.headers.get("HX-Target") == name


def _varying(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.vary.update(("HX-Request", "HX-Target"))
    return response

"""Who is asking, and what they may do and see. Every view and query of a page goes by these."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import request
from flask_login import current_user

from app.audit.service import Actor
from app.errors import ForbiddenError
from app.users import service

P = ParamSpec("P")
R = TypeVar("R")


def requires(role: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let only ``role`` and those above it use a view; anyone else gets 403. Stands below the route."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if not current_user.is_authenticated or not current_user.may(role):
                raise ForbiddenError
            return view(*args, **kwargs)

        return guarded

    return decorate


def current_actor() -> Actor:
    """Return the person of this request, as the audit trail keeps them."""
    return Actor(current_user.id, current_user.username, request.remote_addr or "")


def current_group_ids() -> list[int] | None:
    """Return the ids of the groups the person of this request may see; None: all."""
    return service.visible_group_ids(current_user)

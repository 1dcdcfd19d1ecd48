"""The menu and the breadcrumbs, as the product document writes its paths (首页》流程控制》发起收集广播)."""

from typing import Any, NamedTuple

from flask import request
from flask_babel import lazy_gettext as _
from flask_babel import lazy_pgettext as pgettext


class Item(NamedTuple):
    """One line of the menu. ``counter``: the id of the figure beside it, or ''; ``role``: who sees it."""

    path: str
    icon: str
    words: Any
    counter: str = ""
    role: str = "viewer"


class Section(NamedTuple):
    """A headed part of the menu; ``words`` None for a part without a head."""

    words: Any
    items: tuple[Item, ...]


HOME = Item("/", "home", _("首页"))

MENU = (
    Section(None, (HOME,)),
    Section(
        _("流程控制"),
        (
            Item("/collections/new", "broadcast", _("发起收集广播"), role="operator"),
            Item("/exceptions", "alert-triangle", _("异常处理"), counter="count-exceptions"),
            Item("/stops", "player-stop", _("紧急停止"), counter="count-stops"),
            Item("/breakers", "lock", pgettext("plural", "熔断"), counter="count-breakers"),
        ),
    ),
    Section(
        _("修复查询"),
        (
            Item("/anomalies", "search", _("检查异常查询")),
            Item("/collections", "terminal-2", _("收集命令")),
            Item("/executions", "history", _("修复执行")),
        ),
    ),
    Section(
        None,
        (
            Item("/plans", "adjustments-horizontal", _("方案配置")),
            Item("/frames", "activity-heartbeat", _("通信监控")),
            Item("/agents", "devices", pgettext("plural", "客户端"), counter="count-agents"),
            Item("/alerts", "bell", _("告警")),
            Item("/users", "users", _("用户管理"), role="admin"),
            Item("/audit", "shield-check", _("审计")),
        ),
    ),
)


class Place(NamedTuple):
    """Where a page stands: its menu path ('' for none) and the crumbs above it as (words, path or None)."""

    path: str
    crumbs: tuple[tuple[Any, str | None], ...]


def place() -> Place:
    """Return where the requested page stands: the menu item with the longest path that begins its path."""
    found: tuple[Section, Item] | None = None
    for section in MENU:
        for item in section.items:
            is_here = request.path == item.path or (item != HOME and request.path.startswith(item.path + "/"))
            if is_here and (found is None or len(item.path) > len(found[1].path)):
                found = (section, item)
    home = (HOME.words, HOME.path)
    if found is None:
        return Place("", (home,))
    section, item = found
    if item == HOME:
        return Place(item.path, (home,))
    middle = ((section.words, None),) if section.words is not None else ()
    return Place(item.path, (home, *middle, (item.words, item.path)))

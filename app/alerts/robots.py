"""Robots that say with status 200 that they have refused a message: apprise would take that for a success."""

import json
from typing import Any, Final
from urllib.parse import unquote

import requests
from apprise.plugins.base import NotifyBase
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.wecombot import NotifyWeComBot

HEADERS: Final = {"User-Agent": "Piculus", "Content-Type": "application/json; charset=utf-8"}


class DingTalkRobot(NotifyDingTalk):  # type: ignore[misc]  # apprise has no types
    """apprise's DingTalk, which hears errcode."""

    def send(self, body: str, title: str = "", **_options: Any) -> bool:
        """Post one text message. Called by ``notify``."""
        signed = {}
        if self.secret:
            timestamp, sign = self.get_signature()
            signed = {"timestamp": timestamp, "sign": unquote(sign)}
        content = f"{title}\n{body}" if title else body
        called = {"atMobiles": self.targets, "isAtAll": False}
        message = {"msgtype": "text", "text": {"content": content}, "at": called}
        return _post(self, self.notify_url.format(token=self.token), message, signed)


class WeComRobot(NotifyWeComBot):  # type: ignore[misc]  # apprise has no types
    """apprise's WeCom robot, which hears errcode."""

    def send(self, body: str, title: str = "", **_options: Any) -> bool:
        """Post one text message. Called by ``notify``."""
        content = f"{title}\n{body}" if title else body
        return _post(self, self.api_url, {"msgtype": "text", "text": {"content": content}}, {})


def _post(plugin: NotifyBase, url: str, message: dict[str, Any], params: dict[str, str]) -> bool:
    """Post a message and return whether the robot took it; why not goes to the log of ``plugin``."""
    try:
        answer = requests.post(
            url,
            data=json.dumps(message, ensure_ascii=False).encode(),
            params=params,
            headers=HEADERS,
            timeout=plugin.request_timeout,
            verify=plugin.verify_certificate,
            allow_redirects=False,
        )
        told = answer.json() if answer.ok else {"errcode": answer.status_code, "errmsg": answer.reason}
    except (requests.RequestException, ValueError) as error:
        plugin.logger.warning("%s: %s", type(error).__name__, error)
        return False
    if not isinstance(told, dict) or told.get("errcode") != 0:
        told = told if isinstance(told, dict) else {}
        plugin.logger.warning("errcode %s: %s", told.get("errcode"), told.get("errmsg"))
        return False
    return True

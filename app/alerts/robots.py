"""Robots of which apprise does not know all: their own addresses, and that one refuses with status 200."""

import json
import re
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import requests
from apprise.plugins.base import NotifyBase
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.wecombot import NotifyWeComBot

HEADERS: Final = {"User-Agent": "Piculus", "Content-Type": "application/json; charset=utf-8"}
_dingtalk: Final = re.compile(r"https://oapi\.dingtalk\.com/robot/send/?\?(\S+)", re.IGNORECASE)
_feishu: Final = re.compile(r"https://open\.feishu\.cn/open-apis/bot/v2/hook/([\w-]+)/?", re.IGNORECASE)
_plain: Final = re.compile(r"[A-Za-z0-9]+")


class DingTalkRobot(NotifyDingTalk):  # type: ignore[misc]  # apprise has no types
    """apprise's DingTalk, which hears errcode and knows the address that DingTalk shows."""

    @staticmethod
    def parse_native_url(url: str) -> dict[str, Any] | None:
        """Read what a group's robot shows; the secret of a signed one may be added as ``&secret=``."""
        found = _dingtalk.fullmatch(url)
        told = parse_qs(found[1]) if found else {}
        parts = [told[name][0] for name in ("secret", "access_token") if name in told]
        if "access_token" not in told or not all(_plain.fullmatch(part) for part in parts):
            return None
        read: dict[str, Any] = NotifyDingTalk.parse_url(f"dingtalk://{'@'.join(parts)}")
        return read

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


class FeishuRobot(NotifyFeishu):  # type: ignore[misc]  # apprise has no types
    """apprise's Feishu, which knows the address that Feishu shows."""

    @staticmethod
    def parse_native_url(url: str) -> dict[str, Any] | None:
        """Read what a group's robot shows."""
        found = _feishu.fullmatch(url)
        read: dict[str, Any] | None = NotifyFeishu.parse_url(f"feishu://{found[1]}") if found else None
        return read


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

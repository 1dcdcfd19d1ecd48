"""The real sender against a real HTTP server, and what URLs it takes."""

import io
import logging
import socket
from typing import get_args

import pytest

from app.alerts.apprise_sender import PLUGINS, AppriseSender
from app.alerts.events import Severity
from app.alerts.robots import DingTalkRobot, WeComRobot
from app.alerts.secrecy import masked, without_secrets
from app.alerts.sender import SCHEMES, BadUrlError, SendError
from tests.app.alerts.receiver import Receiver

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


@pytest.fixture
def sender() -> AppriseSender:
    return AppriseSender()


def test_only_the_allowed_schemes_are_known() -> None:
    assert set(PLUGINS) == {scheme for some in SCHEMES.values() for scheme in some}


@pytest.mark.parametrize(
    ("url", "is_encrypted"),
    [
        ("dingtalk://abcdef123456", True),
        ("dingtalk://secret@abcdef123456/", True),
        ("wecombot://0a1b2c3d-key", True),
        ("feishu://0a1b2c3d-token", True),
        ("lark://0a1b2c3d-token", True),
        (SLACK, True),
        ("jsons://user:pass@hooks.example.com/piculus", True),
        ("json://hooks.example.com/piculus", False),
        ("mailtos://u:p@smtp.example.com?from=a@example.com&to=b@example.com", True),
        ("mailto://u:p@smtp.example.com?from=a@example.com&mode=insecure", False),
    ],
)
def test_a_url_is_looked_at(url: str, is_encrypted: bool, sender: AppriseSender) -> None:
    assert sender.check(url).is_encrypted is is_encrypted


TOKEN = "693a91f6-7b1c-4bc4-97a0-0ec2f1fa5aAA"
HOOK = "https://oapi.dingtalk.com/robot/send?access_token=0aB9f3"


@pytest.mark.parametrize(
    ("pasted", "written"),
    [
        (HOOK, "dingtalk://0aB9f3"),
        (f" {HOOK}&secret=SEC0f1e ", "dingtalk://SEC0f1e@0aB9f3"),
        (f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={TOKEN}", f"wecombot://{TOKEN}"),
        (f"https://open.feishu.cn/open-apis/bot/v2/hook/{TOKEN}", f"feishu://{TOKEN}"),
        (f"https://open.larksuite.com/open-apis/bot/v2/hook/{TOKEN}", f"lark://{TOKEN}"),
        (SLACK.replace("slack://", "https://hooks.slack.com/services/"), SLACK),
    ],
)
def test_an_address_is_taken_as_its_service_shows_it(
    pasted: str, written: str, sender: AppriseSender
) -> None:
    assert sender.written(pasted) == written
    assert sender.check(written).is_encrypted


def test_an_address_of_a_workflow_keeps_what_it_is(sender: AppriseSender) -> None:
    written = sender.written("https://hooks.slack.com/triggers/T1JJ3T3L2/8712345/abcdef0123456789abcdef")
    assert written.startswith("slack://T1JJ3T3L2/8712345/abcdef0123456789abcdef/?")
    assert "mode=trigger" in written
    assert sender.check(written).is_encrypted


@pytest.mark.parametrize(
    "url",
    [
        "dingtalk://abcdef123456",
        "https://hooks.example.com/piculus",
        "https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "https://oapi.dingtalk.com/robot/send",
        "https://oapi.dingtalk.com/robot/send?access_token=a/b",
        "https://oapi.dingtalk.com.example.com/robot/send?access_token=0aB9f3",
        "http://open.feishu.cn/open-apis/bot/v2/hook/0aB9f3",
        f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={TOKEN}&template=/etc/passwd",
        "https://[",
    ],
)
def test_any_other_address_stays_as_it_is(url: str, sender: AppriseSender) -> None:
    assert sender.written(url) == url


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "alert_url"),
        ("file:///etc/passwd", "alert_url"),
        ("https://hooks.example.com", "alert_url"),
        ("abcdef123456", "alert_url"),
        ("jsons://", "alert_url"),
        (f"{SLACK}?template=/etc/passwd", "alert_url"),
        ("mailtos://u:p@example.com?pgppub=file:///etc/passwd", "alert_url"),
        ("dingtalk://", "alert_token"),
        ("wecombot://", "alert_token"),
        ("feishu://", "alert_token"),
        ("lark://", "alert_token"),
        ("slack://T1JJ3T3L2", "alert_token"),
        ("mailtos://", "alert_token"),
    ],
)
def test_a_url_nothing_can_be_sent_to_is_refused(url: str, code: str, sender: AppriseSender) -> None:
    with pytest.raises(BadUrlError) as refused:
        sender.check(url)
    assert refused.value.code == code


def test_a_webhook_gets_title_and_body(sender: AppriseSender, receiver: Receiver) -> None:
    sender.send(f"json://{receiver.address}/hook?-token=secret", "Piculus · 待人工", "两笔\n- CO1", "warning")
    (message,) = receiver.messages
    assert (message["title"], message["message"]) == ("Piculus · 待人工", "两笔\n- CO1")
    assert receiver.paths == ["/hook?token=secret"]


@pytest.mark.parametrize("severity", get_args(Severity))
def test_a_webhook_is_told_how_grave_it_is(
    severity: Severity, sender: AppriseSender, receiver: Receiver
) -> None:
    sender.send(f"json://{receiver.address}/hook", "t", "b", severity)
    assert [message["type"] for message in receiver.messages] == [severity]


def test_a_refusal_is_an_error_without_secrets(sender: AppriseSender, receiver: Receiver) -> None:
    receiver.status = 503
    with pytest.raises(SendError, match="503") as refused:
        sender.send(f"json://user:passw0rd@{receiver.address}/s3cretpath", "t", "b", "warning")
    assert not {"passw0rd", "s3cretpath"} & set(str(refused.value).replace("/", " ").split())


def test_nobody_there_is_an_error_without_secrets(sender: AppriseSender) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(SendError, match="Connection") as refused:
        sender.send(f"json://127.0.0.1:{port}/s3cretpath?-key=s3cretkey", "t", "b", "warning")
    assert "s3cret" not in str(refused.value)


def test_a_redirect_is_not_followed(sender: AppriseSender, receiver: Receiver) -> None:
    receiver.status, receiver.location = 307, f"http://{receiver.address}/elsewhere"
    with pytest.raises(SendError, match="307"):
        sender.send(f"json://{receiver.address}/hook", "t", "b", "warning")
    assert receiver.paths == ["/hook"]


@pytest.mark.parametrize(
    ("robot", "url", "query"),
    [
        (DingTalkRobot, "dingtalk://abcdef123456", "access_token={token}"),
        (WeComRobot, "wecombot://abcdef123456", "key={key}"),
    ],
)
def test_a_robot_that_refuses_with_status_200_is_heard(
    robot: type,
    url: str,
    query: str,
    sender: AppriseSender,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(robot, "notify_url", f"http://{receiver.address}/send?{query}")
    sender.send(url, "Piculus", "body", "warning")
    assert receiver.paths == ["/send?" + query.partition("{")[0] + "abcdef123456"]
    assert receiver.messages[0]["text"]["content"].split() == ["Piculus", "body"]
    receiver.answer = {"errcode": 310000, "errmsg": "keywords not in content abcdef123456"}
    with pytest.raises(SendError, match="310000") as refused:
        sender.send(url, "Piculus", "body", "warning")
    assert "123456" not in str(refused.value)


def test_a_dingtalk_signature_is_sent_once_encoded(
    sender: AppriseSender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DingTalkRobot, "notify_url", f"http://{receiver.address}/send?access_token={{token}}")
    sender.send("dingtalk://SECabcdef@token123456", "t", "b", "warning")
    assert "sign=" in receiver.paths[0]
    assert "%25" not in receiver.paths[0]


def test_nothing_of_it_is_logged(sender: AppriseSender, receiver: Receiver) -> None:
    # Not caplog: it listens to loggers that tell nobody else.
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    logging.getLogger().addHandler(handler)
    receiver.status = 500
    try:
        with pytest.raises(SendError):
            sender.send(f"json://{receiver.address}/s3cretpath", "t", "b", "warning")
        with pytest.raises(BadUrlError):
            sender.check("slack://s3cret!!")
        logging.getLogger("app").warning("what is said elsewhere is heard")
    finally:
        logging.getLogger().removeHandler(handler)
    assert told.getvalue() == "what is said elsewhere is heard\n"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("dingtalk://SECabc@token123", "dingtalk://***"),
        ("jsons://user:pass@hooks.example.com:8443/a/b?x=y", "jsons://hooks.example.com:8443/***"),
        ("mailtos://u:p@smtp.example.com?to=a@b.c", "mailtos://smtp.example.com/***"),
    ],
)
def test_a_url_is_shown_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_a_text_is_shown_without_what_the_url_holds() -> None:
    url = "jsons://user1:p%40ssword@hooks.example.com/robot/tokentoken?key=abcd1234"
    told = f"No answer from {url}: /robot/tokentoken?key=abcd1234 at hooks.example.com, p@ssword\nrefused"
    shown = without_secrets(told, url)
    assert shown == (
        "No answer from jsons://hooks.example.com/***: /***/***?key=*** at hooks.example.com, *** refused"
    )


def test_of_an_error_of_a_connection_the_cause_is_told() -> None:
    around = (
        "HTTPSConnectionPool(host='a.example', port=443): Max retries exceeded with url: /x?key=tokentoken "
    )
    cause = "HTTPSConnection(host='a.example', port=443): Failed to resolve 'a.example' ([Errno -2] unknown)"
    told = f'ConnectionError: {around}(Caused by NameResolutionError("{cause}"))'
    shown = without_secrets(told, "dingtalk://tokentoken")
    assert shown == "ConnectionError: Failed to resolve 'a.example' ([Errno -2] unknown)"

"""The page 告警: who sees and does what; secrets stay where they are."""

import html
import re

import pytest
from flask import Flask
from sqlalchemy import select, update

from app.agents import stops
from app.agents.stops import Target
from app.alerts.models import AlertChannel, AlertDelivery, AlertSilence
from app.audit.models import AuditEntry
from app.clock import current_time
from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.app.alerts.conftest import Rounds
from tests.app.alerts.receiver import Receiver
from tests.app.alerts.rows import URL, add_channel, add_group, add_trades, deliveries
from tests.app.visitor import Visitor, visitor_of
from tests.factories import PERSON
from tests.fakes.alert_sender import FakeSender

SECRET = "abcdefSECRETtoken123456"
FORM = {
    "name": "值班群",
    "channel_kind": "dingtalk",
    "url": URL,
    "kinds": ["needs_human", "stop_switch"],
    "least_level": "0",
    "language": "zh",
    "grouping_seconds": "60",
    "zone": "Asia/Shanghai",
    "tells_recovery": "on",
    "is_enabled": "on",
}


def only_channel() -> AlertChannel:
    db.session.expire_all()
    return db.session.scalars(select(AlertChannel)).unique().one()


def audited() -> list[AuditEntry]:
    db.session.expire_all()
    entries = select(AuditEntry).where(AuditEntry.object_type.startswith("alert_")).order_by(AuditEntry.id)
    return list(db.session.scalars(entries))


@pytest.fixture
def admin(app: Flask) -> Visitor:
    return visitor_of(app, "boss", "admin")


def test_the_form_says_how_long_events_may_gather(app: Flask, admin: Visitor) -> None:
    page = admin.get("/alerts/channels/new").text
    assert "10 到 3600 秒；" in page
    assert 'min="10" max="3600"' in page


def test_a_channel_is_made_and_its_address_never_shown_again(app: Flask, admin: Visitor) -> None:
    assert admin.post("/alerts/channels/new", FORM).status_code == 303
    channel = only_channel()
    assert (channel.url, channel.kinds) == (URL, ["needs_human", "stop_switch"])
    pages = ["/alerts", "/alerts/channels", f"/alerts/channels/{channel.id}", "/audit"]
    pages += [f"/audit/{audited()[0].id}", f"/alerts/channels/{channel.id}/test"]
    shown = "".join(admin.get(page).text for page in pages)
    assert "dingtalk://***" in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        (
            {"url": "discord://abc/def"},
            "url",
            "不支持 discord:// 开头的地址；这种渠道只接受 https://oapi.dingtalk.com/… / dingtalk://。",
        ),
        ({"url": f"https://hooks.slack.com/services/T1/B1/{SECRET}"}, "url", "不支持 slack:// 开头的地址"),
        ({"url": f"https://oapi.dingtalk.com/robot?access_token={SECRET}"}, "url", "不支持 https:// 开头"),
        ({"url": "slack://a/b/c"}, "url", "不支持 slack:// 开头的地址"),
        ({"url": "just-a-token"}, "url", "不支持 — 开头的地址"),
        ({"url": "dingtalk://"}, "url", "地址里缺少令牌"),
        ({"url": ""}, "url", "必填"),
        ({"channel_kind": "webhook", "url": "jsons://"}, "url", "地址无法识别"),
        ({"channel_kind": "webhook", "url": "json://h.example.com"}, "is_plain_confirmed", "这个地址不加密"),
        ({"channel_kind": "pigeon"}, "channel_kind", "没有这个选项"),
        ({"name": ""}, "name", "必填"),
        ({"kinds": []}, "kinds", "请至少选择一种事件"),
        ({"kinds": ["weather"]}, "kinds", "没有这个选项：weather"),
        ({"grouping_seconds": "5"}, "grouping_seconds", "须为 10 到 3600 的整数"),
        ({"grouping_seconds": "often"}, "grouping_seconds", "须为 10 到 3600 的整数"),
        ({"least_level": "9"}, "least_level", "没有这个选项"),
        ({"language": "fr"}, "language", "不支持这种语言"),
        ({"group": "NONE"}, "group", "没有这个系统组别"),
        ({"quiet_from": "22:00"}, "quiet_to", "免打扰的起止时间须一起填写"),
        ({"quiet_from": "25:00", "quiet_to": "08:00"}, "quiet_from", "请按“时:分”填写"),
        ({"quiet_from": "08:00", "quiet_to": "08:00"}, "quiet_to", "起止时间相同"),
        ({"zone": "Mars/Olympus"}, "zone", "没有这个时区"),
    ],
)
def test_a_wrong_channel_is_told_at_its_field(
    admin: Visitor, changed: dict[str, str | list[str]], field: str, words: str
) -> None:
    answer = admin.post("/alerts/channels/new", {**FORM, **changed}, target="dialog")
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert words in answer.text
    assert SECRET not in answer.text
    assert db.session.scalars(select(AlertChannel)).unique().all() == []


def test_the_address_that_dingtalk_shows_is_taken_as_pasted(
    admin: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    pasted = f"https://oapi.dingtalk.com/robot/send?access_token={SECRET}"
    with caplog.at_level("DEBUG"):
        assert admin.post("/alerts/channels/new", {**FORM, "url": pasted}).status_code == 303
        assert only_channel().url == URL
        same = {**FORM, "url": pasted, "grouping_seconds": "300"}
        assert admin.post(f"/alerts/channels/{only_channel().id}", same).status_code == 303
    assert audited()[-1].detail == {"grouping_seconds": [60, 300]}
    assert SECRET not in caplog.text + str([entry.detail for entry in audited()])


def test_the_help_stays_open_where_the_address_is_wrong(admin: Visitor) -> None:
    assert '<details class="more">' in admin.get("/alerts/channels/new").text
    answer = admin.post("/alerts/channels/new", {**FORM, "url": "https://example.com"}, target="dialog")
    assert '<details class="more" open>' in answer.text


def test_an_unencrypted_address_is_taken_once_confirmed(admin: Visitor) -> None:
    plain = {**FORM, "channel_kind": "webhook", "url": "json://h.example.com/x", "is_plain_confirmed": "on"}
    assert admin.post("/alerts/channels/new", plain).status_code == 303
    assert only_channel().url == "json://h.example.com/x"


def test_what_is_silent_is_said_above_the_alerts_and_the_channels(app: Flask, admin: Visitor) -> None:
    add_group("PBAP")
    viewer = visitor_of(app, "wang.wu", "viewer", groups=["PBAP"])
    silence = {"kind": "", "group": "", "silent_until": "2026-03-02T21:00", "reason": "月末演练"}
    assert "静默中" not in admin.get("/alerts").text
    assert admin.post("/alerts/silences/new", silence).status_code == 303
    pages = [admin.get("/alerts"), admin.get("/alerts/channels"), viewer.get("/alerts")]
    for page in pages:
        assert ("静默中：全部事件 · 全部系统组别" in page.text, "boss：月末演练" in page.text) == (True, True)
    assert ["/alerts/silences" in page.text for page in pages] == [True, True, False]
    assert admin.post("/alerts/silences/1/end", {"reason": ""}).status_code == 303
    assert "静默中" not in admin.get("/alerts").text


def test_the_silence_of_a_group_is_said_to_those_who_see_it(app: Flask, admin: Visitor) -> None:
    for sys_code in ("PBAP", "PBMS"):
        add_group(sys_code)
    viewer = visitor_of(app, "wang.wu", "viewer", groups=["PBMS"])
    silence = {"kind": "exhausted", "group": "PBAP", "silent_until": "2026-03-02T21:00", "reason": "维护"}
    admin.post("/alerts/silences/new", silence)
    assert "静默中：重试耗尽 · PBAP" in admin.get("/alerts").text
    assert "静默中" not in viewer.get("/alerts").text


def test_two_channels_of_a_name_are_refused(admin: Visitor) -> None:
    admin.post("/alerts/channels/new", FORM)
    answer = admin.post("/alerts/channels/new", FORM, target="dialog")
    assert "告警渠道 值班群 已经存在" in answer.text


def test_an_empty_address_keeps_the_one_there_is(admin: Visitor) -> None:
    admin.post("/alerts/channels/new", FORM)
    channel = only_channel()
    changed = {**FORM, "url": "", "grouping_seconds": "300"}
    assert admin.post(f"/alerts/channels/{channel.id}", changed).status_code == 303
    assert (only_channel().url, only_channel().grouping_seconds) == (URL, 300)
    assert audited()[-1].detail == {"grouping_seconds": [60, 300]}


def test_a_new_address_is_audited_as_changed_and_no_more(admin: Visitor) -> None:
    admin.post("/alerts/channels/new", FORM)
    channel = only_channel()
    admin.post(f"/alerts/channels/{channel.id}", {**FORM, "url": "dingtalk://anotherSECRET123"})
    assert only_channel().url == "dingtalk://anotherSECRET123"
    assert audited()[-1].detail == {"url": "changed"}


def test_another_kind_needs_another_address(admin: Visitor) -> None:
    admin.post("/alerts/channels/new", FORM)
    answer = admin.post(f"/alerts/channels/{only_channel().id}", {**FORM, "channel_kind": "slack", "url": ""})
    assert answer.status_code == 400
    assert only_channel().kind == "dingtalk"


def test_disabling_takes_a_reason_and_drops_what_waits(
    admin: Visitor, rounds: Rounds, sender: FakeSender
) -> None:
    channel = add_channel()
    add_trades(add_group(), 1)
    rounds.run()
    off = {name: value for name, value in FORM.items() if name != "is_enabled"} | {"url": ""}
    assert admin.post(f"/alerts/channels/{channel.id}", off).status_code == 400
    assert admin.post(f"/alerts/channels/{channel.id}", {**off, "reason": "维护"}).status_code == 303
    assert [one.state for one in deliveries()] == ["dropped"]
    rounds.run(90)
    assert sender.sent == []


def test_a_deleted_channel_leaves_its_history(admin: Visitor, rounds: Rounds, sender: FakeSender) -> None:
    channel = add_channel()
    add_trades(add_group(), 1)
    rounds.run(90)
    assert admin.post(f"/alerts/channels/{channel.id}/delete", {"reason": ""}).status_code == 400
    assert admin.post(f"/alerts/channels/{channel.id}/delete", {"reason": "不再使用"}).status_code == 303
    (one,) = deliveries()
    assert (one.channel_id, one.channel_name, one.state) == (None, "值班群", "sent")
    assert "值班群" in admin.get("/alerts").text


def test_the_test_button_sends_a_real_message_and_says_so(
    app: Flask, admin: Visitor, receiver: Receiver
) -> None:
    channel = add_channel(kind="webhook", url=f"json://{receiver.address}/hook/s3cret", language="en")
    answer = admin.post(f"/alerts/channels/{channel.id}/test", target="dialog")
    assert "测试消息已送达" in answer.text
    assert [one["title"] for one in receiver.messages] == ["Piculus · test message"]
    (one,) = deliveries()
    assert (one.state, one.is_test, one.attempts) == ("sent", True, 1)
    assert (audited()[-1].action, audited()[-1].detail) == ("alert_channel.test", {"sent": True})


def test_a_test_that_fails_says_why_and_is_not_repeated(
    app: Flask, admin: Visitor, receiver: Receiver
) -> None:
    receiver.status = 404
    channel = add_channel(kind="webhook", url=f"json://{receiver.address}/hook/s3cretpath")
    answer = admin.post(f"/alerts/channels/{channel.id}/test", target="dialog")
    assert "测试消息没有送达" in answer.text
    assert "404" in answer.text
    assert [one.state for one in deliveries()] == ["failed"]
    page = admin.get("/alerts").text
    assert "渠道 值班群 发不出去" in page
    assert admin.get("/healthz").json["notes"] == {"alerts": "failing"}  # type: ignore[index]
    assert admin.get("/healthz").status_code == 200
    assert "s3cretpath" not in page + answer.text + str(audited()[-1].detail)


def test_roles_go_as_far_as_they_should(app: Flask) -> None:
    channel = add_channel()
    viewer, operator = visitor_of(app, "viewer", "viewer"), visitor_of(app, "oper", "operator")
    urls = ["/alerts", "/alerts/channels", "/alerts/silences", "/alerts/silences/new"]
    urls += ["/alerts/channels/new", f"/alerts/channels/{channel.id}", f"/alerts/channels/{channel.id}/test"]
    assert [viewer.get(url).status_code for url in urls] == [200, 403, 403, 403, 403, 403, 403]
    assert [operator.get(url).status_code for url in urls] == [200, 200, 200, 200, 403, 403, 403]
    assert operator.post(f"/alerts/channels/{channel.id}/test").status_code == 403
    assert deliveries() == []


def test_a_person_sees_the_alerts_of_their_groups(app: Flask, rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    for code in ("PBAP", "PBMS"):
        add_trades(add_group(code), 1)
    rounds.run(90)
    viewer = visitor_of(app, "viewer", "viewer", groups=["PBAP"])
    page = viewer.get("/alerts").text
    assert "Piculus · 待人工 · PBAP" in page
    assert "PBMS" not in page
    shown, hidden = deliveries()
    assert viewer.get(f"/alerts/{shown.id}").status_code == 200
    assert viewer.get(f"/alerts/{hidden.id}").status_code == 404


def test_of_an_end_for_every_group_a_person_reads_what_still_holds_in_their_own(
    app: Flask, admin: Visitor, rounds: Rounds, sender: FakeSender
) -> None:
    add_channel(kinds=["stop_switch"])
    ours, theirs = add_group("PBAP"), add_group("PBMS")
    everything = press(Target(), "drill of all")
    press(Target(group_id=ours.id), "drill of ours")
    press(Target(group_id=theirs.id), "drill of theirs")
    rounds.run(90)
    with unit_of_work() as session:
        whole = {"actor": PERSON, "group_ids": None, "is_admin": True, "now": current_time()}
        stops.lift(session, everything, reason="over", **whole)
    rounds.run(90)
    viewer = visitor_of(app, "viewer", "viewer", groups=["PBAP"])
    (end,) = [one for one in deliveries() if one.is_recovery]
    assert "drill of theirs" in admin.get(f"/alerts/{end.id}").text
    shown = viewer.get(f"/alerts/{end.id}").text
    assert "drill of ours" in shown
    assert "drill of theirs" not in shown
    assert "PBMS" not in shown


def press(target: Target, reason: str) -> int:
    with unit_of_work() as session:
        stop = stops.set_stop(
            session, target, reason=reason, actor=PERSON, group_ids=None, now=current_time()
        )
        return stop.id


def test_what_was_silenced_can_be_read(app: Flask, rounds: Rounds, sender: FakeSender) -> None:
    told = {"environment_name": "sandbox"}
    app.extensions["settings"] = app.extensions["settings"].model_copy(update=told)
    add_channel(language="en")
    add_trades(add_group(), 2)
    operator = visitor_of(app, "oper", "operator", groups=["PBAP"])
    assert silence(operator) == 303
    rounds.run(90)
    (one,) = deliveries()
    page = operator.get(f"/alerts/{one.id}").text
    assert "这条消息因静默没有发送" in page
    assert "Piculus 沙箱 · 待人工 × 2 · PBAP" in page
    assert "PBAP 有 2 笔交易转为待人工" in page


def test_the_history_is_read_page_by_page_and_narrowed_by_the_url(app: Flask, admin: Visitor) -> None:
    group = add_group()
    with unit_of_work() as session:
        for number in range(60):
            delivery = AlertDelivery(
                channel_name="群",
                kind="exhausted" if number % 2 else "needs_human",
                group_id=group.id,
                state="failed" if number == 7 else "sent",
                samples=[],
                title=f"message-{number:02d}",
                created_at=group.created_at,
                due_at=group.created_at,
            )
            session.add(delivery)

    def shown(url: str) -> list[str]:
        return re.findall(r"message-\d\d", admin.get(url, target="alerts-table").text)

    following = re.search(r'rel="next" href="([^"]+)"', admin.get("/alerts").text)
    assert following
    assert shown("/alerts") + shown(following[1]) == [f"message-{number:02d}" for number in range(59, -1, -1)]
    assert shown("/alerts?state=failed") == ["message-07"]
    assert len(shown("/alerts?kind=exhausted&group=PBAP")) == 30
    assert admin.get("/alerts?kind=weather").status_code == 400
    assert admin.get("/alerts?channel=99").status_code == 400


def silence(visitor: Visitor, **values: str) -> int:
    form = {"kind": "needs_human", "group": "PBAP", "silent_until": "2026-03-02T22:00", "reason": "维护"}
    return visitor.post("/alerts/silences/new", form | values).status_code


def test_an_operator_silences_and_ends_it_and_both_are_audited(app: Flask) -> None:
    add_group()
    operator = visitor_of(app, "oper", "operator", groups=["PBAP"])
    assert silence(operator) == 303
    one = db.session.scalars(select(AlertSilence)).unique().one()
    assert (one.kind, one.created_by, one.until.hour) == ("needs_human", "oper", 14)
    assert "生效中" in operator.get("/alerts/silences").text
    assert operator.post(f"/alerts/silences/{one.id}/end").status_code == 303
    assert operator.post(f"/alerts/silences/{one.id}/end").status_code == 409
    assert [entry.action for entry in audited()] == ["alert_silence.begin", "alert_silence.end"]
    assert audited()[0].reason == "维护"
    listed = operator.get("/audit").text
    assert ("静默</span> 待人工" in listed, "needs_human" in listed) == (True, False)
    assert "<dd>待人工</dd>" in operator.get(f"/audit/{audited()[0].id}").text


def test_a_silence_needs_a_reason_a_time_and_a_group_one_may_see(app: Flask) -> None:
    add_group()
    add_group("PBMS")
    operator = visitor_of(app, "oper", "operator", groups=["PBAP"])
    assert silence(operator, reason="") == 400
    assert silence(operator, silent_until="2026-03-02T10:00") == 400
    assert silence(operator, silent_until="2026-05-02T10:00") == 400
    assert silence(operator, group="PBMS") == 400
    assert silence(operator, group="") == 400
    assert db.session.scalars(select(AlertSilence)).unique().all() == []
    everywhere = visitor_of(app, "all", "operator", sees_all_groups=True)
    assert silence(everywhere, group="", kind="") == 303
    common = db.session.scalars(select(AlertSilence)).unique().one()
    assert operator.post(f"/alerts/silences/{common.id}/end").status_code == 404


# ---- sending again


def failed_delivery(rounds: Rounds, sender: FakeSender) -> int:
    """A message of PBAP whose channel could not be reached at any attempt."""
    add_channel()
    add_trades(add_group(), 1)
    sender.failing[URL] = "error=503"
    rounds.run(4 * 3600, step=600)
    (one,) = deliveries()
    assert one.state == "failed"
    return one.id


def test_a_failed_message_is_sent_again_by_an_operator_and_audited(
    app: Flask, rounds: Rounds, sender: FakeSender
) -> None:
    identity = failed_delivery(rounds, sender)
    sender.failing.clear()
    operator, url = visitor_of(app, groups=["PBAP"]), f"/alerts/{identity}/send-again"
    assert url in operator.get("/alerts").text
    assert url in operator.get(f"/alerts/{identity}").text
    assert operator.post(url, {"reason": "网络已恢复"}, target="dialog").status_code == 204
    assert deliveries()[0].state == "pending"
    assert operator.post(url, target="dialog").status_code == 409
    rounds.run(10)
    (one,) = deliveries()
    assert (one.state, one.attempts, one.last_error, len(sender.sent)) == ("sent", 7, "", 1)
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "alert.send_again")).one()
    assert (entry.actor_name, entry.sys_code, entry.reason) == ("li.na", "PBAP", "网络已恢复")
    assert url not in operator.get("/alerts").text


def test_one_that_fails_again_stays_failed_and_may_be_sent_again(
    app: Flask, rounds: Rounds, sender: FakeSender
) -> None:
    identity = failed_delivery(rounds, sender)
    operator = visitor_of(app, groups=["PBAP"])
    assert operator.post(f"/alerts/{identity}/send-again", target="dialog").status_code == 204
    rounds.run(10)
    (one,) = deliveries()
    assert (one.state, one.attempts) == ("failed", 7)
    assert f"/alerts/{identity}/send-again" in operator.get("/alerts").text


def test_nothing_is_sent_again_to_a_channel_that_is_off_or_by_a_viewer_or_a_stranger(
    app: Flask, rounds: Rounds, sender: FakeSender
) -> None:
    identity = failed_delivery(rounds, sender)
    add_group("PBMS")
    url = f"/alerts/{identity}/send-again"
    viewer = visitor_of(app, "auditor", "viewer", groups=["PBAP"])
    assert url not in viewer.get("/alerts").text
    assert viewer.post(url).status_code == 403
    assert visitor_of(app, "wang.wu", "operator", groups=["PBMS"]).post(url).status_code == 404
    with unit_of_work() as session:
        session.execute(update(AlertChannel).values(is_enabled=False))
    refused = visitor_of(app, groups=["PBAP"]).post(url, target="dialog")
    assert (refused.status_code, "已停用" in refused.text) == (409, True)
    assert deliveries()[0].state == "failed"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("ConnectionError: Failed to resolve 'a.example' ([Errno -2] unknown)", "域名解析失败"),
        (
            "ConnectTimeout: Connection to a.example timed out. (connect timeout=5.0)",
            "连接超时，对方没有应答",
        ),
        ("ConnectionError: [Errno 111] Connection refused", "连接不上，对方拒绝连接"),
        ("SSLError: [SSL: CERTIFICATE_VERIFY_FAILED]", "对方的证书不可信"),
        ("errcode 310000: keywords not in content", "对方没有接受这条消息"),
        (
            "Failed to send JSON POST notification: Unauthorized, error=401.",
            "对方拒绝：令牌或密钥不对（HTTP 401）",
        ),
        ("Failed to send Slack notification: Page not found., error=404.", "对方没有这个地址（HTTP 404）"),
        ("Failed to send Lark notification: error=429.", "发得太多，对方暂不接受（HTTP 429）"),
        (
            "Failed to send JSON POST notification: Internal server error., error=500.",
            "对方的服务出错（HTTP 500）",
        ),
        ("Failed to send JSON POST notification: error=504.", "对方的服务出错（HTTP 504）"),
        ("Failed to send JSON POST notification: error=400.", "对方没有接受这条消息（HTTP 400）"),
    ],
)
@pytest.mark.usefixtures("rounds")
def test_why_a_message_did_not_go_out_is_told_in_words_and_what_was_said_is_folded(
    admin: Visitor, sender: FakeSender, error: str, words: str
) -> None:
    channel_id = add_channel().id
    sender.failing[URL] = error
    dialog = admin.post(f"/alerts/channels/{channel_id}/test", target="dialog").text
    assert f"<p>{words}</p>" in dialog
    assert error in html.unescape(dialog.partition("<summary>详细信息</summary>")[2])

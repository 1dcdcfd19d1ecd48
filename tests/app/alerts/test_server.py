"""The real server tells a real receiver, without anybody's help."""

from sqlalchemy import select

from app.alerts.models import AlertChannel, AlertDelivery
from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.app.alerts.receiver import Receiver
from tests.app.alerts.rows import add_channel, add_group, add_trades
from tests.app.live_server import LiveServer


def test_a_trade_that_needs_a_person_reaches_the_webhook(live_server: LiveServer, receiver: Receiver) -> None:
    with live_server.app.app_context():
        add_channel(kind="webhook", url=f"json://{receiver.address}/s3cretpath", grouping_seconds=0)
        add_trades(add_group(), 2)
    assert receiver.arrived.wait(60)
    assert receiver.messages[0]["title"] == "Piculus · 待人工 × 2 · PBAP"
    live_server.until(
        lambda: db.session.scalars(select(AlertDelivery).where(AlertDelivery.state == "sent")).first()
    )
    assert live_server.health()["notes"] == {"alerts": "ok"}
    receiver.status = 500
    receiver.arrived.clear()
    with live_server.app.app_context():
        with unit_of_work() as session:
            channel = session.scalars(select(AlertChannel)).unique().one()
            channel.rests_until = None
        add_trades(add_group("PBMS"), 1)
    assert receiver.arrived.wait(60)
    live_server.until(lambda: live_server.health()["notes"] == {"alerts": "failing"})
    assert live_server.health()["status"] == "ready"
    assert "s3cretpath" not in (live_server.settings.instance / "server.log").read_text()

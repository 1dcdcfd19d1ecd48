"""The settlement file of one bank day: CSV, then a trailer that lets a reader prove it whole."""

import csv
import hashlib
import io
from collections.abc import Iterable

from sandbox.bank.records import ACCEPTED, SUCCESS, BankRecord
from sandbox.clock import iso

HEADER = ("request_no", "kind", "amount_minor", "currency", "account", "status", "code", "completed_at")


def settlement_file(records: Iterable[BankRecord]) -> bytes:
    """Header, one line for each successful or accepted record, trailer of rows, fen and digest."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    listed = [record for record in records if record.status in (SUCCESS, ACCEPTED)]
    for record in listed:
        completed = "" if record.completed_at is None else iso(record.completed_at)
        said = (record.status, record.code or "", completed)
        money = (record.kind, record.amount_minor, record.currency, record.account)
        writer.writerow((record.request_no, *money, *said))
    body = text.getvalue().encode()
    total = sum(record.amount_minor for record in listed)
    return body + f"#TRAILER,{len(listed)},{total},{hashlib.sha256(body).hexdigest()}\n".encode()

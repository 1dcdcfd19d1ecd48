"""How production calls the bank: one kept-alive connection, and an honest 'don't know'."""

import http.client
import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from sandbox.bank.records import PAYOUT
from sandbox.errors import BankError, BankUnreachableError


@dataclass(frozen=True)
class BankReply:
    """``status`` accepted, success or failed, as the bank said it."""

    status: str
    code: str | None


class BankClient:
    """Not shared between threads. A call that brings no usable answer raises BankUnreachableError."""

    def __init__(self, url: str, token: str, timeout_seconds: float = 10.0) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=timeout_seconds
        )
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def submit(self, kind: str, request_no: str, amount_minor: int, currency: str, account: str) -> BankReply:
        """Asks for a payout or a receipt."""
        party = "payee_account" if kind == PAYOUT else "payer_account"
        wanted = {
            "request_no": request_no,
            "amount_minor": amount_minor,
            "currency": currency,
            party: account,
        }
        answer = self.call("POST", "/payouts" if kind == PAYOUT else "/receipts", wanted)
        status, code = answer.get("status"), answer.get("code")
        if status not in ("accepted", "success", "failed"):
            raise BankUnreachableError(f"no such status: {status!r}")
        return BankReply(str(status), None if code is None else str(code))

    def call(self, method: str, path: str, wanted: object = None) -> dict[str, object]:
        """The JSON object of a 2xx answer. Raises BankError for a 4xx, else BankUnreachableError."""
        body = None if wanted is None else json.dumps(wanted).encode()
        try:
            self._connection.request(method, path, body, self._headers)
            reply = self._connection.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise BankUnreachableError(f"the bank did not answer: {error!r}") from error
        if 400 <= reply.status < 500:
            raise BankError(f"the bank refused ({reply.status}): {content[:200].decode(errors='replace')}")
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise BankUnreachableError("the bank's answer is not JSON") from error
        if reply.status >= 500 or not isinstance(answer, dict):
            raise BankUnreachableError(f"the bank's answer is no use ({reply.status})")
        return answer

    def is_running(self) -> bool:
        """Whether a bank answers that takes this token."""
        try:
            self.call("GET", "/faults")
        except (BankError, BankUnreachableError):
            return False
        finally:
            self.close()
        return True

    def close(self) -> None:
        self._connection.close()

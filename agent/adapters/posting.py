"""One balanced posting, inside a transaction that the caller holds.

The row of the voucher sequence is taken first, so the postings of a ledger stand in line behind each other
and everything read afterwards is fresh.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, update

from agent.adapters.asked import AmongTexts, given, plain_asked, text_asked
from agent.adapters.entries import SLOTS, Shares, net, shares
from agent.adapters.names import LedgerNames
from agent.adapters.rows import moment, number, plain, plain_amount, whole
from agent.adapters.tables import LedgerTables
from agent.errors import InsufficientBalanceError, LedgerRejectedError, LegTakenError, PortError
from agent.facts import Kind
from agent.money import NOT_FEN, has_decimals
from agent.records import Posting
from agent.standstill import EFFECT_WITHIN, require_within


def voucher_number(value: int, at: datetime) -> str:
    """An entry's number: second and last six digits of the sequence."""
    return f"GA{at:%y%m%d%H%M%S}{value % 1_000_000:06d}"


class Poster:
    """Posts into the tables of a ledger.

    ``now`` is the database's clock in SQL; ``is_told``: whether an UPDATE can return what it wrote.
    """

    def __init__(
        self, names: LedgerNames, tables: LedgerTables, now: ColumnElement[datetime], *, is_told: bool
    ) -> None:
        self._names = names
        self._now = now
        sequence, entry, leg, account = tables.sequence.c, tables.entry, tables.entry_leg, tables.account.c
        is_it = sequence["ID"] == 1
        raising = update(tables.sequence).where(is_it).values(LAST_VALUE=sequence["LAST_VALUE"] + 1)
        self._is_told = is_told
        self._raise_sequence = raising.returning(sequence["LAST_VALUE"], now) if is_told else raising
        self._select_sequence = select(sequence["LAST_VALUE"], now).where(is_it)
        self._select_known = select(entry).where(entry.c["IDEM_KEY"] == text_asked("key"))
        line = tables.posting.c
        self._select_lines = select(line["ACC_NO"], line["AMOUNT"]).where(
            line["VOUCHER_NO"] == text_asked("voucher_no")
        )
        is_live = and_(leg.c["TRD_NUM"] == text_asked("trade_no"), leg.c["LIVE"] == 1)
        self._taken = AmongTexts(leg.c["LEG"], select(leg.c["VOUCHER_NO"]).where(is_live).where)
        told = select(account["ACC_NO"], account["KIND"], account["CURRENCY"], account["BALANCE"])
        self._accounts = AmongTexts(account["ACC_NO"], told.where)
        self._insert_entry = insert(entry).values(
            VOUCHER_NO=text_asked("voucher_no"),
            TRD_NUM=text_asked("trade_no"),
            LEG=text_asked("leg"),
            KIND=text_asked("kind"),
            AMOUNT=plain_asked("amount"),
            CURRENCY=text_asked("currency"),
            IDEM_KEY=text_asked("key"),
            POSTED_BY=names.posted_by,
            POSTED_AT=now,
        )
        self._insert_leg = insert(leg).values(
            TRD_NUM=text_asked("trade_no"),
            LEG=text_asked("slot"),
            VOUCHER_NO=text_asked("voucher_no"),
            LIVE=1,
        )
        self._insert_line = insert(tables.posting).values(
            VOUCHER_NO=text_asked("voucher_no"), ACC_NO=text_asked("account_no"), AMOUNT=plain_asked("amount")
        )
        enough = or_(account["KIND"] != names.customer, account["BALANCE"] >= plain_asked("least"))
        self._move_balance = (
            update(tables.account)
            .where(account["ACC_NO"] == text_asked("account_no"), enough)
            .values(BALANCE=account["BALANCE"] + plain_asked("change"))
        )

    def post(self, connection: Connection, posting: Posting) -> str:
        """The voucher number, new or the one that the key was given before.

        Raises LedgerRejectedError and its kin, StoodStillError: the transaction must then be rolled back.
        """
        wanted = self._shares(posting)
        value, at = self.next_value(connection)
        known = self._known(connection, posting, wanted)
        if known is not None:
            return known
        require_within(EFFECT_WITHIN, posting.intended_at, at)
        self._refuse_taken(connection, posting)
        self._check_accounts(connection, posting, wanted)
        voucher_no = voucher_number(value, at)
        self._insert(connection, posting, voucher_no, wanted)
        self.move(connection, wanted)
        return voucher_no

    def _shares(self, posting: Posting) -> Shares:
        minor = posting.amount.minor
        wanted = shares(self._names, posting.kind, posting.leg, posting.account_no, minor)
        if wanted is None:
            raise LedgerRejectedError(f"a {posting.kind.value} has no leg {posting.leg.value}")
        if minor <= 0:
            raise LedgerRejectedError(f"an amount is positive, not {minor}")
        return wanted

    def next_value(self, connection: Connection) -> tuple[int, datetime]:
        """Take the next value of the sequence, and with it the place in line; and the ledger's clock."""
        raised = connection.execute(self._raise_sequence)
        if not self._is_told:
            raised = connection.execute(self._select_sequence)
        standing = raised.first()
        if standing is None:
            raise PortError("the ledger has no voucher sequence")
        value, at = whole(standing[0]), moment(standing[1])
        if at is None or value is None:
            raise PortError("the ledger's sequence or clock cannot be read")
        return value, at

    def _known(self, connection: Connection, posting: Posting, wanted: Shares) -> str | None:
        held = connection.execute(self._select_known, given(key=posting.key)).first()
        if held is None:
            return None
        if held.REVERSED_BY is not None:
            raise LedgerRejectedError(f"{held.VOUCHER_NO} was posted under {posting.key} and reversed since")
        voucher_no = number(held.VOUCHER_NO)
        found = connection.execute(self._select_lines, given(voucher_no=voucher_no))
        texts = (held.IDEM_KEY, held.TRD_NUM, held.LEG, held.KIND)
        stored = (*map(number, texts), plain(held.AMOUNT), number(held.CURRENCY))
        asked = (posting.key, posting.trade_no, posting.leg.value, self._kind(posting))
        same = stored == (*asked, posting.amount.minor, posting.amount.currency)
        if not same or net([(number(line[0]), line[1]) for line in found]) != net(wanted):
            raise LedgerRejectedError(f"{posting.key} was used for another posting, {voucher_no}")
        return voucher_no

    def _refuse_taken(self, connection: Connection, posting: Posting) -> None:
        held = self._taken.rows(connection, SLOTS[posting.leg.value], trade_no=posting.trade_no)
        if held:
            holder = number(held[0][0])
            raise LegTakenError(f"leg {posting.leg.value} of {posting.trade_no} is held by {holder}")

    def _check_accounts(self, connection: Connection, posting: Posting, wanted: Shares) -> None:
        needed = {account_no for account_no, _ in wanted}
        rows = self._accounts.rows(connection, sorted(needed))
        currency = posting.amount.currency
        kinds = {number(row[0]): number(row[1]) for row in rows if number(row[2]) == currency}
        missing = sorted(needed - kinds.keys())
        if missing:
            raise LedgerRejectedError(f"no account {missing[0]} in {currency}")
        for account_no, _, _, balance in rows:
            if has_decimals(plain_amount(balance)):
                raise LedgerRejectedError(f"the balance of account {number(account_no)} {NOT_FEN}")
        if (posting.account_no in needed) and kinds[posting.account_no] != self._names.customer:
            raise LedgerRejectedError(f"account {posting.account_no} is not a customer's")

    def _insert(self, connection: Connection, posting: Posting, voucher_no: str, wanted: Shares) -> None:
        entry = given(
            voucher_no=voucher_no,
            trade_no=posting.trade_no,
            leg=posting.leg.value,
            kind=self._kind(posting),
            amount=posting.amount.minor,
            currency=posting.amount.currency,
            key=posting.key,
        )
        connection.execute(self._insert_entry, entry)
        slots = SLOTS[posting.leg.value]
        held = [given(trade_no=posting.trade_no, slot=slot, voucher_no=voucher_no) for slot in slots]
        connection.execute(self._insert_leg, held)
        self.write_lines(connection, voucher_no, wanted)

    def write_lines(self, connection: Connection, voucher_no: str, wanted: Shares) -> None:
        """Write the signed postings of an entry."""
        lines = [
            given(voucher_no=voucher_no, account_no=account_no, amount=amount)
            for account_no, amount in wanted
        ]
        connection.execute(self._insert_line, lines)

    def move(self, connection: Connection, wanted: Shares) -> None:
        """Raise and lower the balances, in the order of the accounts so that two postings cannot deadlock."""
        for account_no, change in sorted(net(wanted).items()):
            moved = given(account_no=account_no, least=-change, change=change)
            if connection.execute(self._move_balance, moved).rowcount != 1:
                raise InsufficientBalanceError(f"the account does not hold {-change} fen")

    def _kind(self, posting: Posting) -> str:
        return self._names.recharge if posting.kind is Kind.RECHARGE else self._names.withdraw

"""Why a trade is as it is, in the reader's language: reasons of decisions and outcomes, fixers' names.

The agent writes stable English words; a reason that is not known here is shown as it came.
"""

from collections.abc import Mapping
from typing import Any

from flask_babel import lazy_gettext as _

from app.i18n import language
from app.nonsense import nonsense_words
from app.words import ORDER_VERBS, order_words, word

FIXERS: Mapping[str, Any] = {
    "interRechargeFixServiceImpl": _("充值成功，账户未入账"),
    "interWithdrawFixServiceImpl": _("提现成功，账户未扣款，银行未出款"),
    "interWithdrawAccFixServiceImpl": _("提现成功，账户已扣款，银行未出款"),
    "rechargeFailedFixServiceImpl": _("充值失败，银行已扣款，账户未入账"),
    "rechargeTimeoutFixServiceImpl": _("充值长时间处理中"),
    "withdrawFailedFixServiceImpl": _("提现失败，账户已扣款，银行未出款（一次性记账）"),
    "withdrawFailedAccFixServiceImpl": _("提现失败，账户已扣款，银行未出款（分段式记账）"),
    "withdrawTimeoutFixServiceImpl": _("提现长时间处理中"),
}

REASONS: Mapping[str, Any] = {
    # the decision (design, section 6)
    "mismatch": _("账务或银行的金额、账号与交易不相符，需人工核查"),
    "more than one request number succeeded": _(
        "银行有不止一个请求号成功，同一笔动了两次款，需人工追回或退还"
    ),
    "bank": _("银行尚未给出确定结果，等待银行"),
    "ledger": _("账务暂时查询不到，等待账务系统"),
    "credited without bank money": _("账户已入账，没有银行收到款项的记录"),
    "row says posted, ledger does not": _("交易记录显示已记账，账务中却没有"),
    "success without bank money": _("交易显示成功，没有银行扣款的记录"),
    "failed but credited": _("交易显示失败，但账户已经入账"),
    "single-step posting is half present": _("一次性记账只记了一半"),
    "second segment without first": _("账务有第二段记账，却没有第一段"),
    "processing, debited, bank failed": _("处理中，账户已扣款，没有银行付出的记录，需人工处理"),
    "settled in ledger, not at bank": _("账务已结清，没有银行出款的记录"),
    "processing with a posted leg": _("处理中，但交易记录上已有记账"),
    "both legs on row, status or bank disagrees": _("两段记账都在交易记录上，状态或银行结果不一致"),
    "paid, ledger or row behind": _("银行已出款，账务或交易记录未跟上"),
    "row behind ledger": _("账务已扣款，交易记录未跟上"),
    "failed but bank paid": _("交易显示失败，但银行已经出款"),
    # rows that make no sense
    "out_of_range": _("越界：数值超出允许范围"),
    "meaningless": _("无意义：取值没有含义"),
    "malformed": _("格式非法"),
    # how an attempt ended
    "in flight": _("生产系统仍在处理，暂不修复"),
    "insufficient balance": _("账户余额不足，未扣款"),
    "paid, not debited, insufficient balance": _("已付未扣，余额不足：银行已付出，客户没有扣款"),
    "the order had no effect": _("资金指令没有收到结果，核实后确定没有执行；请重新决定"),
    "people have ordered of this trade before": _("有人下过资金指令；再出款只能由人再下指令"),
    "debited, payout failed": _("已扣款，银行出款失败，需人工处理"),
    "not debited, so not paid": _("账户未扣款，因此不出款"),
    "a posting of this repair may still reach the ledger": _("本次修复的记账可能还会到达，过一会儿再看"),
    "the agent stood still before an effect": _(
        "查看与动账相隔过久（客户端停顿，或银行、数据库过慢），没有记账或出款，稍后再看"
    ),
    "the bank has accepted the payout and not yet finished it": _("银行已受理出款，尚未完成"),
    "the reply to the payout was lost": _("出款请求没有收到应答，稍后用同一编号再查"),
    "the reply to the payout was lost, the bank does not de-duplicate": _(
        "出款请求没有收到应答，而银行不去重，需人工核查"
    ),
    "the bank knows the number that was to be new, and does not de-duplicate": _(
        "银行已有这个新编号的出款，而银行不去重，需人工核查"
    ),
    "the bank knows the number, and production's table has lost it": _(
        "银行已有这个编号的出款，生产系统的银行请求表却丢了它，需人工补回"
    ),
    "another bank request came before this one was asked for": _(
        "生产系统先另开了一笔银行请求，本次出款没有发出"
    ),
    "production holds the number of the payout under another trade": _(
        "生产系统的银行请求表把本次出款的编号记在另一笔交易下，出款没有发出，需人工更正"
    ),
    "the order could not be carried out in time": _(
        "这笔资金指令 12 小时内没能执行，已作废；仍需要时请重新下达"
    ),
    "the payout was never asked for, and the bank does not de-duplicate": _(
        "这笔出款没有发出；银行不去重，不再接着发，须重新开始"
    ),
    "the request may still reach the bank, which does not de-duplicate": _(
        "原出款请求可能仍会到达，而银行不去重，需人工核查"
    ),
    "the bank holds the number with another amount or payee": _(
        "银行以这个编号记着另一笔金额或收款人，需人工核查"
    ),
    "production no longer holds the number of the payout": _("生产系统中已没有这笔出款的编号，需人工核查"),
    "more than one bank request may be alive": _("可能有多笔银行请求同时有效，需人工核查"),
    "the bank no longer has the money where it had": _("银行结果与先前不同，需人工核查"),
    "row changed after money moved": _("资金已动之后交易记录被改动，需人工核查"),
    "the row has changed since it was reported": _("交易记录在上报之后已经改变"),
    "the row is no longer what was read": _("交易记录在读取之后已经改变"),
    "the trade or its posting changed while the bank was looked at": _(
        "查看银行期间，这笔交易或它的扣款有变化，没有出款，稍后再看"
    ),
    "the facts call for other steps": _("现在的情况需要另外的修复步骤"),
    "another repair of this trade came between": _("这笔交易已由另一次修复接手"),
    "another entry holds the leg": _("这一段已有另一笔记账"),
    "another entry holds the leg and does not fit the trade": _("这一段已有另一笔记账，且与交易不相符"),
    "an entry of this repair was reversed": _("这次修复的记账已被冲正"),
    "no row has this trade number": _("生产系统中没有这个交易号"),
    "more than one row has this trade number": _("生产系统中有多条记录使用这个交易号"),
    "cancelled before the first effect": _("在第一个外部动作之前取消"),
    "the amount is above what this attempt was judged by": _("金额比下令时依据的大，需重新核实"),
    "over the agent's limit for a trade": _("超过客户端的单笔限额，需人工核查"),
    "over the agent's limit for an hour": _("超过客户端每小时的限额"),
    "over the agent's limit for a day": _("超过客户端每天的限额"),
    "consistent": _("记录、账务、银行一致"),
    "resume": _("修复做到一半，将继续"),
    "the wait is over": _("等待结束，继续修复"),
    "read before the repair ended": _("读的时候修复还没有结束，不作数"),
    "nothing was read, and the agent does not say why": _("没有读到，客户端没有说明原因"),
    # what a limit of the plan leaves to a person
    "limit_trade_minor": _("单笔金额上限"),
    "limit_hour_minor": _("每小时金额上限"),
    "limit_hour_count": _("每小时笔数上限"),
    "limit_day_minor": _("每日金额上限"),
    "limit_day_count": _("每日笔数上限"),
    "amount_unknown": _("金额或币种无法读取"),
    # what a person may order of a trade debited and unpaid
    "not a withdrawal": _("不是提现"),
    "not debited": _("账务没有扣款"),
    "the bank has paid": _("银行已经付出"),
    "production holds no bank request of the trade": _("生产系统没有这笔交易的银行请求，查不到是否付过"),
    "a request the bank has not refused may still be paid": _("有银行没有明确拒绝的请求，可能仍会到达、付出"),
    "an entry of this leg was reversed by an order before": _("这一段记账按指令冲正过一次，不能再下指令冲正"),
    "no facts": _("没有可用的三方事实"),
    "the facts do not allow it": _("现在的情况不允许"),
    "the facts have changed since the order was given": _("提交之后情况已变"),
    "a repair half done goes on by itself": _("修复做到一半，会自动继续"),
    "paying again has begun and has not finally failed": _("再付已经开始，还没有最终失败"),
    "a reversal has begun": _("冲正已经开始"),
    "the bank has paid what is being reversed": _("冲正途中银行付出了款项，需人工核查"),
    "the proposer may no longer order": _("提交人已停用或没有权限"),
    "the trade is with the machine again": _("这笔交易又在自动处理"),
    "the trade was closed before the order was confirmed": _("复核之前，这笔异常已经结束"),
    "nobody confirmed the order in time": _("24 小时内没有人复核"),
    "closed": _("这笔异常已经结束"),
    # what became of the trade of an order that was issued
    "repaired": _("已修复"),
    "healed": _("已自愈"),
    "ignored": _("已忽略"),
    # what time alone decides
    "waited_too_long": _("等待银行超过期限"),
    "money_moved_too_long": _("资金已动，24 小时内未能完成"),
    # healed outside, as someone said
    "claim_refuted": _("称已在外部处理，核实不成立"),
    "claim_unanswered": _("称已在外部处理，没有核实到结果"),
    "missing": _("生产系统中没有这个交易号"),
    "crashed_too_often": _("每次修复都异常中断，已搁置，需人工核查"),
    "ended_alike_too_often": _("连续多次以同样的原因没有修成，已搁置，需人工核查"),
    "money_found": _("重试耗尽之后得知资金已动，需人工核查"),
    "money_after_close": _("关闭之后得知资金已动，需人工核查"),
    "money_during_repair": _("修复途中得知更早一次已动资金，需人工核查"),
    "internal error": _("客户端内部错误"),
    # a collection
    "no_agent_online": _("没有在线的客户端"),
    "codes_not_offered": _("没有在线客户端提供的修复代号"),
    "trailer": _("汇总与收到的明细不符"),
    "expired": _("命令已过期"),
    "rejected": _("客户端拒绝了命令"),
    "cancelled": _("已取消"),
    "indeterminate": _("结果不明"),
    "its deadline passed": _("已过期限"),
    "the agent came back without it": _("客户端重新连接，却已没有这条命令"),
    "the agent stopped answering": _("客户端没有应答"),
    "the agent stopped answering while it was cancelled": _("取消期间客户端没有应答"),
    "superseded": _("已被取代"),
    # told without its detail, by an alert and where reasons are counted
    "older than what is repaired without a person, in days": _("交易太旧，只能由人执行"),
    # parts of the reasons above, before a detail
    "read back": _("修复后回读"),
    "payout failed": _("银行出款失败"),
    "stopped on the agent": _("客户端本地已停止"),
    "the ledger refused": _("账务拒绝记账"),
    "the ledger refused after money moved": _("资金已动之后账务拒绝记账"),
    "the row is not as it was written": _("交易记录与写入的不同"),
    "the ledger or the bank has changed meanwhile": _("账务或银行期间有变化"),
}

OPENINGS: Mapping[str, Any] = {
    "older than what is repaired without a person, in days: ": _("交易已超过 %(rest)s 天，只能由人执行"),
    "local stop of ": _("客户端本地已停止：%(rest)s"),
    "this agent does not offer ": _("客户端不提供修复代号 %(rest)s"),
    "the facts call for ": _("现在的情况应由 %(rest)s 修复"),
    "the ledger holds no entry for leg ": _("账务没有第 %(rest)s 段的记账"),
}
"""Reasons that end in a name."""

EVENTS: Mapping[str, Any] = {
    "reported": _("客户端上报"),
    "ignored": _("已忽略"),
    "verify_ordered": _("要求核实"),
    "verify_unanswered": _("核实没有得到结果"),
    "consistent": _("核实一致，自愈"),
    "dry_run_ordered": _("要求试运行"),
    "dry_run_failed": _("试运行没有读到结果"),
    "decided_repair": _("核实：可修复"),
    "decided_wait": _("核实：等待"),
    "decided_human": _("核实：需人工"),
    "claimed_outside": _("声明已在外部处理，要求核实"),
    "healed_outside": _("外部处理属实，关闭"),
    "claim_refuted": _("称已在外部处理，核实不成立"),
    "claim_unanswered": _("称已在外部处理，没有核实到结果"),
    "attempt_tick": _("定时执行"),
    "attempt_click": _("手动执行"),
    "attempt_command_line": _("命令行执行"),
    "cancel_requested": _("要求取消"),
    "no_attempts_left": _("重试耗尽"),
    "too_old": _("交易太旧，只能由人执行"),
    "late_result": _("迟到的结果，作为证据保留"),
    "waited_too_long": _("等待银行超过期限"),
    "money_moved_too_long": _("资金已动，24 小时内未能完成"),
    "hold_began": _("超出限额，待人工执行"),
    "hold_ended": _("不再因限额等待"),
    "money_found": _("重试耗尽之后得知资金已动，需人工核查"),
    "money_after_close": _("关闭之后得知资金已动，需人工核查"),
    "money_during_repair": _("修复途中得知更早一次已动资金，需人工核查"),
    "attempt_pay_again": _("再付"),
    "attempt_reverse": _("冲正"),
    "ordered_before": _("有人下过资金指令，方案不再出款，转待人工"),
    "order_without_effect": _("资金指令没有执行，转待人工"),
}
"""What an AnomalyEvent's code says; ``outcome_…`` and ``command_…`` end in a word of words.LOOKS,
``order_…`` in a verb of words.ORDER_VERBS and the order's action, which those written first do not name.
"""


def fixer_name(code: str) -> str:
    """Return what the fixer mends; a fixer this server does not know is its code."""
    return str(FIXERS.get(code, code))


def reason_words(reason: str | None) -> str:
    """Return a reason in words. ``word: detail`` translates the word and keeps the detail; '' stays ''."""
    if not reason:
        return ""
    if reason in REASONS:
        return str(REASONS[reason])
    for opening, text in OPENINGS.items():
        if reason.startswith(opening):
            return str(text) % {"rest": reason.removeprefix(opening)}
    nonsense = nonsense_words(reason)
    if nonsense:
        return nonsense
    head, colon, detail = reason.partition(": ")
    if colon and head in REASONS:
        detail = reason_words(detail)
        return f"{REASONS[head]}（{detail}）" if language() == "zh" else f"{REASONS[head]} ({detail})"
    return reason


def event_words(code: str) -> str:
    """Return what an event of an anomaly was; a code that is not known here is itself."""
    for kind in ("outcome", "command"):
        if code.startswith(f"{kind}_"):
            what = _("执行结果") if kind == "outcome" else _("命令")
            colon = "：" if language() == "zh" else ": "
            return f"{what}{colon}{word(kind, code.removeprefix(f'{kind}_'))}"
    verb, _sep, action = code.removeprefix("order_").partition("_")
    if code.startswith("order_") and verb in ORDER_VERBS:
        return order_words(verb, action)
    return str(EVENTS.get(code, code))

"""Why a machine may not decide, what a person is advised to do, and why: in the reader's language."""

from collections.abc import Mapping
from typing import Any

from flask import Flask
from flask_babel import lazy_gettext as _

DOUBTS: Mapping[str, Any] = {
    "mismatch": _("金额、账号或收款人对不上，机器分不清哪一方写错了。"),
    "more than one request number succeeded": _("同一笔动了两次款，机器收不回来；怎样追回或退还，由人决定。"),
    "credited without bank money": _("入账没有对应的银行收款：冲回还是等银行补款，由人决定。"),
    "row says posted, ledger does not": _("交易记录声称已记账，账务却没有：照着记录补记可能记成两次。"),
    "success without bank money": _("客户看到成功，却没有款项收到的记录：撤销还是追款，由人决定。"),
    "failed but credited": _("客户已经入账而记录是失败：改记录还是扣回，由人决定。"),
    "single-step posting is half present": _("一笔分录不该只有一半：账务自相矛盾，机器不能补另一半。"),
    "second segment without first": _("先有第二段、没有第一段，顺序不可能；可能有人手工记过账。"),
    "processing, debited, bank failed": _("客户已被扣款，没有银行付出的记录：怎样了结，由人决定。"),
    "settled in ledger, not at bank": _("账务说已付给银行，银行那边没有记录；再付一次可能付成两次。"),
    "processing with a posted leg": _("仍在处理中却已有记账，生产系统可能还在动它。"),
    "both legs on row, status or bank disagrees": _("两段记账都在，状态却不符；机器不能推翻已经记下的账。"),
    "paid, ledger or row behind": _("银行已付，账务没有跟上：补记之前需确认付款由谁发起。"),
    "row behind ledger": _("账务走在记录前面，可能是另一处手工处理的结果。"),
    "failed but bank paid": _("记录写着失败而银行已经付出：客户可能又提过一次，由人核对。"),
    "out_of_range": _("数值超出范围，机器不知道原来该是多少。"),
    "meaningless": _("取值没有含义，机器不能猜它原来的意思。"),
    "malformed": _("格式不对，这一行无法可靠地读懂。"),
    "insufficient balance": _("余额不够扣款；没有扣款就不能出款。"),
    "paid, not debited, insufficient balance": _(
        "银行已经付出，客户却没有被扣款，余额又不够补扣：补扣还是追回，由人决定。"
    ),
    "the order had no effect": _("有人已经下过指令而没有执行；机器不替人再决定一次。"),
    "people have ordered of this trade before": _(
        "有人对它下过资金指令；再出一次款，只能由人再下指令，超过限额由两个人定。"
    ),
    "debited, payout failed": _("客户已被扣款，出款失败：怎样了结，由人决定。"),
    "not debited, so not paid": _("没有扣款成功，不能先出款。"),
    "the reply to the payout was lost, the bank does not de-duplicate": _(
        "不知道银行是否收到，而再发一次会再付一次。"
    ),
    "the request may still reach the bank, which does not de-duplicate": _(
        "先前的请求可能还在路上；再发一次，两笔都会付。"
    ),
    "the bank knows the number, and production's table has lost it": _(
        "不知道丢了编号的那笔款项是否付出；另起一笔可能再付一次。"
    ),
    "the bank knows the number that was to be new, and does not de-duplicate": _(
        "不知道丢了编号的那笔款项是否付出；另起一笔可能再付一次。"
    ),
    "the bank holds the number with another amount or payee": _(
        "同一编号在银行是另一笔款项，机器不能认作这一笔。"
    ),
    "production no longer holds the number of the payout": _("对不上是哪一次付款，机器不能另起一笔。"),
    "more than one bank request may be alive": _("可能有两笔请求都会付出；机器不再发第三笔。"),
    "the bank no longer has the money where it had": _("银行前后结果不同，机器不能据此移动资金。"),
    "row changed after money moved": _("移动资金之后有人改了这一行，原来的步骤已不适用。"),
    "another entry holds the leg and does not fit the trade": _("这一段已被另一笔账占着，机器不能替它改账。"),
    "an entry of this repair was reversed": _("有人冲正了机器记的账；再记一次会抵消那个人的决定。"),
    "no row has this trade number": _("生产系统中找不到它，没有什么可以修复。"),
    "missing": _("生产系统中找不到它，没有什么可以修复。"),
    "more than one row has this trade number": _("两行同号，机器不知道改哪一行。"),
    "waited_too_long": _("已等待过久，银行仍无确定结果，需有人去催问。"),
    "money_moved_too_long": _("资金已动，却迟迟不能完成，需查明受阻的原因。"),
    "claim_refuted": _("有人称已在外部处理，核实结果却不支持；有疑问时机器不动资金。"),
    "claim_unanswered": _("有人称已在外部处理，却没有核实到结果；有疑问时机器不动资金。"),
    "money_after_close": _("关闭时不知道资金会动：若有人已在外部处理，可能付了两次，由人核对。"),
    "money_during_repair": _("更早一次修复说动了资金，之后的核实却没有见到；可能付了两次，由人核对。"),
    "read back": _("修复后读回的与写入的不同，需查明是谁改的。"),
    "the ledger refused after money moved": _("资金已动，账务却拒绝记下一段；这一步机器不能跳过。"),
    "over the agent's limit for a trade": _(
        "金额超过客户端配置的单笔上限，或这种货币没有配置；点击也越不过，只有客户端主机上能改。"
    ),
    "over the agent's limit for an hour": _(
        "单这一笔就超过客户端配置的每小时上限，等到下一小时也一样；点击也越不过，只有客户端主机上能改。"
    ),
    "over the agent's limit for a day": _(
        "单这一笔就超过客户端配置的每日上限，等到明天也一样；点击也越不过，只有客户端主机上能改。"
    ),
    "older than what is repaired without a person, in days": _(
        "太久以前的交易可能早已另行处理，方案不自动执行；由人核对后决定。"
    ),
    "the amount is above what this attempt was judged by": _(
        "金额在下令之后变大了，限额与复核却是按原来的金额判断的；要按现在的重新判断。"
    ),
    "crashed_too_often": _("几次修复接连异常中断，不知道每次做到了哪里；查明原因之前机器不再试。"),
    "ended_alike_too_often": _("几次修复接连以同样的结果没有修成，再试也不会不同；查明原因，由人决定。"),
    "money_found": _("重试耗尽之后才得知资金已动；是否接着做完，由人核对。"),
    "internal error": _("客户端内部出错，不知道做到了哪里；查明原因，由人决定。"),
}
"""By the stable word of a reason (app.reasons): why a machine may not decide."""

PLANLESS: Mapping[str, Any] = {
    "none": _("没有方案说明可以修复它；没有人同意，机器不动手。"),
    "disabled": _("方案已失效：有人要求机器停手。"),
}
UNTOLD: Any = _("机器不能判断怎样处理；请看三方的事实与处理过程，由人决定。")

PROPOSALS: Mapping[str, tuple[Any, Any]] = {
    "verifying": (_("等待核实"), _("客户端正在重新读取三方，不改任何数据；结果到了再定。")),
    "second_person": (
        _("待复核"),
        _("再付或冲正已提交：由另一个人复核或驳回，或由提交人撤回；之前不能修复、重试或忽略。"),
    ),
    "correct_row": (_("更正数据"), _("没有可用的交易号，客户端无法核实；在生产系统更正后忽略这一条。")),
    "correct_and_verify": (_("更正后核实"), _("在生产系统更正这一行，然后核实。")),
    "make_plan": (_("新建方案"), _("配置并启用方案后即可修复。")),
    "enable_plan": (_("启用方案"), _("查明停用的原因；启用后即可修复。")),
    "pay_or_reverse": (_("再付或冲正"), _("已扣款且确定没有付出：再付一次，或冲正、退回客户账户。")),
    "pay_again": (
        _("再付"),
        _("银行查不到这个请求、没有明确拒绝：按原请求号再付；不能冲正，除非银行作废了它。"),
    ),
    "check_bank": (
        _("向银行查清后关闭"),
        _(
            "没有请求号，再核实也查不到：按收款人、金额与日期向银行查清是否付过；在生产系统或银行处理好，"
            "然后“外部已处理，关闭”，核实一致才会关闭。"
        ),
    ),
    "ask_bank": (_("等待银行"), _("向银行查清这些请求号的结果，有了结果再核实；之前不要重发。")),
    "verify": (_("核实"), _("事实可能已经变了：只读地再读一次，再决定。")),
    "retry": (_("重试"), _("排除原因后重试；从断点继续，不会重复记账或出款。")),
    "raise_limit": (
        _("提高客户端限额，或外部处理"),
        _(
            "确认这一笔可以修复：在客户端主机的配置 [limits] 提高这一项，重启客户端后“重试”；"
            "否则在生产系统或银行处理好，然后“外部已处理，关闭”。"
        ),
    ),
    "debit_or_recover": (
        _("补扣或追回"),
        _(
            "请客户补足余额，然后“重试”，只补记扣款，不会再付；或向客户追回，在生产系统处理好，"
            "然后“外部已处理，关闭”。不要再付。"
        ),
    ),
    "close_outside": (
        _("外部处理后关闭"),
        _("在生产系统或银行处理好，然后“外部已处理，关闭”；核实一致才会关闭。"),
    ),
    "recover": (
        _("追回后忽略"),
        _("向银行或客户追回、或退还多出的一笔，再写明原因忽略；银行的记录不会变，再核实也不会一致。"),
    ),
    "ignore": (_("查明后忽略"), _("先查明这笔交易去了哪里，再写明原因忽略。")),
}
"""By action (app.executions.proposals): its name, and how it is done."""

EVIDENCE: Mapping[str, Any] = {
    "leg_posted": _("账务与记录都有 %(subject)s"),
    "leg_behind_row": _("账务已有 %(subject)s，记录没有"),
    "row_ahead_of_leg": _("记录写着第 %(subject)s 段已记账，账务没有"),
    "leg_mismatch": _("账务第 %(subject)s 段与交易不相符"),
    "leg_unknown": _("账务第 %(subject)s 段查不到"),
    "never_debited": _("账务没有扣款"),
    "bank_success": _("银行：%(subject)s 成功"),
    "bank_fail": _("银行：%(subject)s 明确失败"),
    "bank_never_found": _("银行：%(subject)s 查无此单，清算文件中也没有"),
    "bank_mismatch": _("银行：%(subject)s 与交易不相符"),
    "bank_unknown": _("银行：%(subject)s 还没有确定的结果"),
    "bank_never_asked": _("生产系统没有留下银行请求号"),
    "bank_line_lost": _("银行有 %(subject)s，生产系统没有它的请求记录"),
}
"""By code of app.executions.proposals.Evidence."""


NEXT_STEPS: Mapping[str, Any] = {
    "a request the bank has not refused may still be paid": _(
        "再付，按原请求号再发，银行会付出或明确失败；要冲正，先请银行作废这个请求号，银行给出明确失败之后核实。"
        "银行没有作废之前，再核实也不会变"
    ),
    "bank": _("向银行查清这些请求号的结果，银行日切、结算文件出来之后核实；之前不要重发"),
    "ledger": _("账务系统恢复之后核实"),
    "mismatch": _("在账务系统与银行查清不相符的一笔，更正之后核实"),
    "not debited": _("客户没有被扣款，没有可退的；核实之后按新的事实处理"),
    "the bank has paid": _("不要再付或冲正；核实之后补完记录"),
    "production holds no bank request of the trade": _(
        "按收款人、金额与日期向银行查清是否付过；在生产系统或银行处理好，然后“外部已处理，关闭”"
    ),
    "single-step posting is half present": _("在账务系统补齐或撤销这一半，然后核实"),
    "row says posted, ledger does not": _("在生产系统查清记录为什么写着已记账，更正之后核实"),
    "an entry of this leg was reversed by an order before": _("在账务系统由人冲正这一笔，然后核实"),
    "no facts": _("先核实，读到三方事实之后再决定"),
}
"""By obstacle to 再付 or 冲正 (agent.unpaid): what a person does next."""


UNPAID: Mapping[str, Any] = {
    "refused": _("银行对每个请求号都明确失败。"),
    "never_found": _("银行查不到请求、清算文件中也没有，没有明确失败。"),
    "no_request": _("生产系统没有留下银行请求号，银行无从查起，没有明确失败。"),
}
"""By agent.unpaid.why_unpaid: what is known of the bank not having paid."""


def unpaid_words(because: str) -> str:
    """Return what is known of the bank not having paid a trade."""
    return str(UNPAID[because])


def next_step(obstacle: str) -> str:
    """Return what a person does next where the facts do not allow 再付 or 冲正."""
    return str(NEXT_STEPS.get(obstacle, _("先核实，按新的事实处理")))


def doubt_words(reason: str, plan: str, is_with_person: bool) -> str:
    """Return why a machine may not decide. ``plan``: normal, disabled, none."""
    if not is_with_person and plan in PLANLESS:
        return str(PLANLESS[plan])
    return str(DOUBTS.get(reason.partition(": ")[0], UNTOLD))


def proposal_words(action: str) -> tuple[str, str]:
    """Return the name of a proposed action and how it is done."""
    name, how = PROPOSALS[action]
    return str(name), str(how)


def evidence_of(code: str, subject: str) -> str:
    """Return one fact that speaks for a proposal."""
    return str(EVIDENCE[code]) % {"subject": subject}


def init_app(app: Flask) -> None:
    """Add the filters ``next_step`` and ``unpaid_words`` to the templates."""
    app.jinja_env.filters["unpaid_words"] = unpaid_words
    app.jinja_env.filters["next_step"] = next_step

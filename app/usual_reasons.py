"""Reasons people usually give, offered while they type: by what they are about to do."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flask_babel import lazy_gettext as _

REASONS: Final[Mapping[str, Sequence[Any]]] = {
    "repair": (_("已核对三方事实"), _("已与银行核对"), _("客户来电催办")),
    "retry": (_("故障已排除"), _("银行已恢复"), _("余额已补足")),
    "verify": (_("已在生产系统处理"), _("银行已给出结果"), _("例行复核")),
    "outside": (_("已在生产系统处理"), _("银行已退款"), _("已由银行补付")),
    "ignore": (_("已在别处处理"), _("确认不必处理"), _("测试数据")),
    "cancel": (_("点错了"), _("客户已撤回"), _("先由人工核查"), _("银行正在维护")),
    "bulk.pause": (_("先看一看结果"), _("银行正在维护"), _("先由人工核查")),
    "bulk.resume": (_("核查完毕，恢复执行"), _("故障已排除"), _("银行已恢复")),
    "bulk.stop": (_("范围选错了"), _("修复结果有误，先核查"), _("不再需要")),
    "order": (_("已与银行核对，确未付出"), _("客户要求退回"), _("客户更正了收款账户")),
    "order.confirm": (_("已独立核对三方事实"), _("已与银行核对")),
    "order.reject": (_("银行结果还不确定"), _("金额或收款人有疑问"), _("应由另一种方式处理")),
    "order.withdraw": (_("点错了"), _("情况已变")),
    "plan.edit": (_("按业务要求调整"), _("改为手动，先由人工核查"), _("恢复自动执行")),
    "plan.enable": (_("核查完毕，恢复执行"), _("银行已恢复")),
    "plan.disable": (_("银行正在维护"), _("修复结果有误，先核查"), _("先由人工处理")),
    "plan.delete": (_("建错了"), _("由另一个方案代替"), _("不再使用这个修复代号")),
    "breaker.reset": (_("已查清原因并排除"), _("银行已恢复"), _("已核对三方事实")),
    "run.cancel": (_("范围选错了"), _("生产系统繁忙"), _("不再需要")),
    "schedule.edit": (_("生产系统维护"), _("改变收集时间"), _("不再需要")),
    "schedule.delete": (_("建错了"), _("系统下线"), _("不再需要")),
    "stop.set": (_("修复结果有误，先核查"), _("银行正在维护"), _("生产系统维护"), _("金额异常，先停下")),
    "stop.lift": (_("核查完毕，恢复执行"), _("银行已恢复"), _("维护结束")),
    "agent.rotate": (_("定期更换"), _("令牌可能泄露"), _("令牌文件遗失")),
    "agent.revoke": (_("令牌可能泄露"), _("主机下线"), _("不再使用")),
    "user.edit": (_("岗位变动"), _("增加职责"), _("权限复核")),
    "user.disable": (_("已离职"), _("岗位变动"), _("账号可能被盗用")),
    "user.enable": (_("复职"), _("停用有误")),
    "user.reset": (_("本人忘记密码"), _("账号可能被盗用")),
    "alert_channel.edit": (_("改变值班安排"), _("机器人已更换"), _("渠道维护")),
    "alert_channel.delete": (_("建错了"), _("不再使用"), _("由另一个渠道代替")),
    "alert.send_again": (_("机器人已更换"), _("网络已恢复")),
    "alert_silence.begin": (_("生产系统维护"), _("已有人处理"), _("银行正在维护")),
    "group.edit": (_("系统下线"), _("生产系统维护")),
}


def usual_reasons(action: str) -> Sequence[Any]:
    """Return the usual reasons for an action, none for one that has none."""
    return REASONS.get(action, ())

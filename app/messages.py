"""The words of app.errors for a person: one sentence a code, filled in with the error's parameters."""

from collections.abc import Mapping
from typing import Any

from flask import Flask
from flask_babel import lazy_gettext as _

from app.errors import ConflictError, PiculusError
from app.i18n import language
from app.plans.quartz_errors import QuartzError, translate_reason

TEXTS: Mapping[str, Any] = {
    "error": _("操作没有成功。"),
    # what is not there, or not allowed
    "not_found": _("没有找到，或没有权限查看。"),
    "user": _("没有这个用户。"),
    "group": _("没有这个系统组别。"),
    "agent": _("没有这个客户端。"),
    "anomaly": _("没有这笔异常，或没有权限查看。"),
    "run": _("没有这次收集。"),
    "task": _("没有这个收集任务。"),
    "frame": _("没有这条消息。"),
    "command": _("没有这条命令。"),
    "plan": _("没有这个方案。"),
    "execution": _("没有这次修复执行。"),
    "attempt": _("没有这次执行。"),
    "schedule": _("没有这个定时收集。"),
    "stop": _("没有这个紧急停止。"),
    "breaker": _("没有这次熔断，或没有权限查看。"),
    "order": _("没有这笔资金指令，或没有权限查看。"),
    "forbidden": _("没有权限执行这个操作。"),
    # values
    "invalid": _("内容不正确。"),
    "required": _("必填。"),
    "reason_required": _("请写明原因。"),
    "reference_required": _("请写明单号或出处。"),
    "too_long": _("最多 %(limit)s 个字符。"),
    "cursor": _("分页位置已失效，请从第一页重新查看。"),
    "sort": _("不能按这一列排序。"),
    "unknown_group": _("没有这个系统组别。"),
    "unknown_role": _("没有这个角色。"),
    "unknown_zone": _("没有这个时区，请写 IANA 名称，例如 Asia/Shanghai。"),
    "unknown_locale": _("不支持这种语言。"),
    "unknown_direction": _("方向只能是收或发。"),
    "unknown_frame_type": _("没有这种消息类型。"),
    "time_format": _("请按“年-月-日 时:分”填写时间。"),
    "amount_format": _("请填写金额（元），最多两位小数，例如 1200 或 88.50。"),
    "limit_amount": _("请填写大于 0 的金额（元），最多两位小数；留空为不限。"),
    "number_format": _("请填写编号（数字）。"),
    "filter": _("筛选条件有误，请返回改正。"),
    "group_required": _("请选择系统组别。"),
    "ids_required": _("请先勾选异常。"),
    "too_many": _("一次最多勾选 %(limit)s 笔。"),
    "window_order": _("结束时间早于开始时间。"),
    "window_future": _("开始时间还没有到，没有数据可以收集。"),
    "window": _("时间范围不正确：开始须早于结束，最长 %(days)s 天。"),
    "choice": _("没有这个选项：%(value)s。"),
    "retries": _("重试次数须为 %(low)s 到 %(high)s 的整数。"),
    "range": _("须为 %(low)s 到 %(high)s 的整数。"),
    "zone": _("没有这个时区，请写 IANA 名称，例如 Asia/Shanghai。"),
    "cron_never": _("这个表达式不会再有触发时间。"),
    "fixer_codes_required": _("请至少选择一个修复代号。"),
    "codes_not_offered": _("%(sys_code)s 的客户端不支持所选的修复代号。"),
    "fixer_code": _("没有修复代号 %(fixer_code)s。"),
    "fixer_code_format": _("修复代号为字母、数字或下划线，首字符小写，最长 80 个字符。"),
    "username_format": _("用户名为 2 到 40 个字符：字母、数字、点、横线、下划线，以字母或数字开头。"),
    "username_taken": _("用户名 %(username)s 已经有人使用。"),
    "password_short": _("密码至少 %(limit)s 个字符。"),
    "password_long": _("密码最多 %(limit)s 个字符。"),
    "password_same": _("新密码不能与当前密码相同。"),
    "password_is_name": _("密码不能与用户名相同。"),
    "password_wrong": _("当前密码不正确。"),
    "password_differs": _("两次输入的密码不一致。"),
    "sys_code_format": _("系统组别代码为 2 到 40 个大写字母、数字或下划线，以字母开头。"),
    "sys_code_taken": _("系统组别 %(sys_code)s 已经存在。"),
    "table_format": _("表名只能含字母、数字和下划线，以字母开头。"),
    # states
    "conflict": _("当前状态不允许这个操作。"),
    "state": _("当前状态不允许这个操作，请刷新后再看。"),
    "login_refused": _("用户名或密码不正确；连续 10 次失败会锁定 5 分钟。"),
    "last_admin": _("这是最后一个可用的管理员，不能停用或降级。"),
    "own_account": _("不能停用自己的账号。"),
    "command_id_format": _("%(value)s 不是命令编号：数字与 a 到 f，最长 32 个字符。"),
    "command_id_ambiguous": _("以 %(value)s 开头的命令不止一条，请多输入几位。"),
    "agent_name_format": _("名称只能含字母、数字、点、横线、下划线，最长 80 个字符。"),
    "agent_exists": _("客户端 %(name)s 已经存在。"),
    "agent_revoked": _("客户端 %(name)s 已被吊销。"),
    "trade_busy": _("交易 %(trade_no)s 正有命令在执行；等它结束再试。"),
    "command_closed": _("命令已经结束。"),
    "run_ended": _("这次收集已经结束。"),
    "money_moved": _("资金已经移动，不能取消；修复会继续到完成。"),
    "money_begun": _("修复已经移动资金，会自动继续；转到待人工之后才能忽略。"),
    "breaker_is_reset": _("%(name)s 已经复位过了。"),
    "breaker_is_other": _("您打开之后，它又因另一个原因熔断。请先查清现在的原因，再复位。"),
    "plan_is_so": _("方案已经是这个状态，没有改变。"),
    "user_is_enabled": _("用户 %(username)s 已经是启用的，没有改变。"),
    "plan_exists": _("系统组别 %(sys_code)s 的 %(fixer_code)s 已有方案。"),
    "plan_in_use": _(
        "方案 %(plan)s 还有 %(n)s 笔修复没有结束，不能删除，也不能改换系统组别或修复代号；可以先设为失效。"
    ),
    "plan_at_work": _(
        "方案 %(plan)s 还有 %(n)s 笔修复没有结束，不能转为影子运行：做到一半的修复会无人继续。"
    ),
    "plan_tripped": _(
        "方案 %(plan)s 已熔断：先复位，才能删除，或改换系统组别、修复代号。"
        "熔断跟着系统组别和修复代号：删除后重建，它仍然有效。"
    ),
    "plan_shadow": _("方案在影子运行：只预测，不执行。可以“试运行”，或先结束影子运行。"),
    "prediction": _("没有这次预测，或没有权限查看。"),
    "bulk": _("没有这个批量修复，或没有权限查看。"),
    "bulk_all_begun": _("全部交易已经开始，没有可以暂停或停止的；要停下进行中的，请用紧急停止。"),
    "bulk_state": _("批量修复已经不在可以这样做的状态，请刷新后再看。"),
    "bulk_changed": _(
        "没有继续：您打开之后，这个批量修复因另一个原因暂停，或又有交易没有修好。这里是现在的情况，请核对后再决定。"
    ),
    "schedule_changed": _(
        "没有保存：您打开之后，有人改过或删除了这个定时收集。请在另一页核对，再重新打开修改。"
    ),
    "plan_changed": _("您打开之后，%(name)s 已改过这个方案。请在另一页核对，再重新打开修改。"),
    "seen_changed": _("没有执行：您打开之后，交易 %(trade_no)s 有了变化。这里是现在的情况，请核对后再决定。"),
    "beyond_grew": _(
        "没有执行：您打开之后，限额或熔断有了变化，现在会超出当时没有显示的。这里是现在的情况，请核对后再决定。"
    ),
    "selection_grew": _(
        "没有发出：您打开之后，有的方案要修复的笔数或金额变多了。这里是现在的情况，请核对后再决定。"
    ),
    "selection_tried": _(
        "没有发出：您打开之后，剩下的交易 %(trade_no)s 已执行过一次。这里是现在的情况，请核对后再决定。"
    ),
    "selection_begun": _(
        "没有发出：您打开之后，其中有交易进了一个批量修复，可能是这张表单已经发出过。这里是现在的情况，请核对后再决定。"
    ),
    "taken_meanwhile": _("另一个人刚刚写入了同样的内容；请刷新后核对。"),
    "group_changed": _(
        "没有保存，您打开之后有人改过：%(what)s。您没有动过的栏目已换成改后的内容，填写的都在；请核对后再保存。"
    ),
    "group_changed_back": _(
        "没有保存：您打开之后有人改过，又改了回去，现在与您打开时一样。填写的都在；请核对后再保存。"
    ),
    "group_version_unknown": _(
        "没有保存：这张表单打开得太早，看不出之后有没有人改过。填写的都在；请逐项核对后再保存。"
    ),
    "group_has_plans": _("系统组别 %(sys_code)s 已经有方案。"),
    "no_plan": _("没有匹配的方案，不能执行；请先配置方案。"),
    "plan_disabled": _("方案已失效，不能执行；请先启用方案。"),
    "order_not_allowed": _("最近读到的三方事实不允许这样做；原因与下一步见这笔异常。"),
    "order_live": _("交易 %(trade_no)s 已有一笔没有结束的资金指令。"),
    "order_over": _("这笔资金指令已经处理过，请刷新后再看。"),
    "order_stands": _("这笔交易有一笔资金指令等待复核或正在执行；结束之前不能修复、重试或忽略。"),
    "order_only": _(
        "修复已经向银行出过款而没有付成：不能再修复或重试。再次出款只能用“再付”，超过复核限额须另一个人复核；"
        "也可以“冲正”。"
    ),
    "ordered_before": _(
        "有人对这笔交易下过资金指令：方案、修复和重试都不再为它出款。再次出款只能用“再付”，超过复核限额须另一个人复核；"
        "也可以“冲正”，或在外部处理后关闭。"
    ),
    "limit_changed": _(
        "没有保存：您打开之后，复核限额有了变化。这里是现在的限额，填写的都在；请核对后再保存。"
    ),
    "order_own": _("须由提交人以外的另一个人复核，同名的账号也不行。"),
    "order_own_account": _(
        "%(who)s 在 %(days)s 天内新建、启用过账号，提升过其权限或重置过其密码，"
        "可能同时握有提交人与复核人的账号（经由别的账号也算）：不能互相复核，请另找一个人。"
    ),
    "order_no_agent": _(
        "系统组别 %(sys_code)s 没有能执行再付或冲正的在线客户端；请启动客户端，或升级到支持的版本。"
    ),
    "no_fixer": _("数据不合法，没有修复代号，只能人工处理。"),
    "needs_human": _("待人工核查，不能直接执行；请打开这笔异常，核实或重试。"),
    "repairing": _("正在修复。"),
    "closed": _("这笔异常已经结束。"),
    "shard": _("分片不属于这次收集。"),
    "no_trade_number": _("这一行没有可用的交易号，客户端无法核实；请在生产系统更正后忽略。"),
    "group_disabled": _("系统组别 %(sys_code)s 已停用；管理员启用之后才能执行。"),
    "stop_all": _("只有能看到全部系统组别的人才能停止全部修复；可以停止自己的系统组别。"),
    "stop_lift_all": _("全部修复的紧急停止只有管理员可以解除。"),
    "stop_stands": _("已经停止（%(who)s：%(why)s），没有改变。"),
    "stop_lifted": _("%(who)s 已经解除，没有改变。"),
    "stopped_all": _("%(who)s 已紧急停止全部修复：%(why)s。解除之后才能执行。"),
    "stopped_group": _("%(who)s 已紧急停止系统组别 %(name)s：%(why)s。解除之后才能执行。"),
    "stopped_agent": _("%(who)s 已紧急停止客户端 %(name)s：%(why)s。解除之后才能执行。"),
    "guards_came_since": _("开始之后有熔断触发，或限额降低了；“继续”会写明越过什么，请看过再决定。"),
    "stopped_bulk": _("紧急停止生效中；解除之后再继续。"),
    "stopped_here": _("客户端 %(name)s 已在本地停止：%(why)s。在客户端主机上解除之后才能执行。"),
    # alerts
    "alert_channel": _("没有这个告警渠道。"),
    "alert_silence": _("没有这个静默。"),
    "alert_delivery": _("没有这条告警，或没有权限查看。"),
    "alert_not_failed": _("这条告警不是发送失败，或者已经再发，或者渠道已删除。"),
    "alert_channel_off": _("告警渠道 %(name)s 已停用，不能再发。"),
    "alert_name_taken": _("告警渠道 %(name)s 已经存在。"),
    "alert_scheme": _("不支持 %(scheme)s 开头的地址；这种渠道只接受 %(allowed)s。"),
    "alert_url": _("地址无法识别，请按所选渠道的写法填写，不支持读取文件的参数。"),
    "alert_token": _("地址里缺少令牌，或令牌、账号的格式不对。"),
    "alert_plain": _("这个地址不加密，内容和令牌在网络上可被读取；确认后再保存。"),
    "alert_kinds": _("请至少选择一种事件。"),
    "alert_hour": _("请按“时:分”填写，例如 22:00。"),
    "alert_quiet_half": _("免打扰的起止时间须一起填写。"),
    "alert_quiet_whole": _("起止时间相同；整天不发请停用渠道。"),
    "alert_until": _("静默须晚于现在，最长 %(days)s 天。"),
    "alert_silence_ended": _("这个静默已经结束。"),
}


def words(error: PiculusError) -> str:
    """Return the sentence of an error; a code without one gets the sentence of its class.

    An error of a cron expression brings its own sentence as ``quartz`` (app.plans.quartz_errors).
    """
    quartz = error.params.get("quartz")
    if isinstance(quartz, QuartzError):
        return translate_reason(quartz, "zh" if language() == "zh" else "en")
    text = TEXTS.get(error.code) or TEXTS.get(type(error).code) or TEXTS["error"]
    try:
        return str(text) % _Known(error.params)
    except (TypeError, ValueError):
        return str(text)


def refused_words(refusal: PiculusError | str) -> str:
    """Return the sentence of a refusal; a code alone is one that has no parameters."""
    return words(ConflictError(refusal) if isinstance(refusal, str) else refusal)


def init_app(app: Flask) -> None:
    """Add the filter ``refused`` to the templates."""
    app.jinja_env.filters["refused"] = refused_words


class _Known(dict[str, Any]):
    """Parameters of a text; one that the error does not have shows as an empty place."""

    def __missing__(self, key: str) -> str:
        return ""

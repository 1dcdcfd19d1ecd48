"""Agents (客户端): who is there, adding one, taking one's token away."""

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from app import filters
from app.agents import limits_shown, queries, service
from app.agents.models import Agent, Stop
from app.agents.queries import AgentFilter
from app.agents.service import AgentPresence
from app.agents.standing import list_standing, read_holds
from app.clock import current_time
from app.errors import ConflictError, InvalidError, NotFoundError, PiculusError
from app.extensions import db
from app.forms import Form
from app.i18n import translate as _
from app.keyset import Cut
from app.rendering import (
    finish,
    is_fragment_request,
    render_detail,
    render_dialog,
    render_list,
    render_notice,
)
from app.unit_of_work import unit_of_work
from app.users import groups
from app.users.access import current_actor, current_group_ids, requires
from app.users.group_filter import read_group

blueprint = Blueprint("agents", __name__, url_prefix="/agents")

FILTERS = ("group", "state", "q", "fixer")


@blueprint.get("")
def list_agents() -> ResponseReturnValue:
    asked, now = request.args, current_time()
    cut = Cut(after=asked.get("after"), before=asked.get("before"))
    form = Form(asked)
    wanted = _filter(form)
    page = queries.page_agents(db.session, wanted, now, cut)
    known = groups.list_groups(db.session, current_group_ids())
    return render_list(
        "agents/index.html",
        "agents/_table.html",
        400 if form.errors else 200,
        page=page,
        count=queries.count_agents(db.session, wanted, now),
        agents=[AgentPresence(agent, service.presence_of(agent, now)) for agent in page.rows],
        held=read_holds(db.session),
        running=queries.running_counts(db.session, [agent.id for agent in page.rows]),
        group_choices=[(group.sys_code, group.sys_code) for group in known],
        form=form,
        is_filtered=any(asked.get(name) for name in FILTERS),
    )


@blueprint.get("/<int:agent_id>")
def show_agent(agent_id: int) -> ResponseReturnValue:
    agent = _visible(agent_id)
    return render_detail(
        "agents/detail.html",
        agent=agent,
        presence=service.presence_of(agent, current_time()),
        stops=[one for one in list_standing(db.session) if _concerns(one, agent)],
        limits=limits_shown.lines_of(agent.limits),
        live=queries.live_commands(db.session, agent.id),
        recent=queries.recent_commands(db.session, agent.id),
    )


@blueprint.route("/new", methods=["GET", "POST"])
@requires("admin")
def add_agent() -> ResponseReturnValue:
    if request.method == "GET":
        return _new_dialog(Form({"group": request.args.get("group", "")}), 200)
    form = Form(request.form)
    try:
        if not form.text("group"):
            raise InvalidError("group_required", field="group")
        with unit_of_work() as work:
            group = groups.find_group(work, form.text("group"))
            agent, token = service.register(
                work,
                name=form.text("name"),
                group_id=group.id if group else 0,
                actor=current_actor(),
                reason=form.text("reason"),
                now=current_time(),
            )
    except PiculusError as error:
        form.fail(error)
        return _new_dialog(form, 409 if isinstance(error, ConflictError) else 400)
    return _token_notice(agent.id, token)


@blueprint.route("/<int:agent_id>/<any(rotate, revoke):action>", methods=["GET", "POST"])
@requires("admin")
def act_on_agent(agent_id: int, action: str) -> ResponseReturnValue:
    agent = _visible(agent_id)
    form = Form(request.form)
    if request.method == "GET":
        return render_dialog("agents/action.html", form=form, agent=agent, action=action)
    actor, reason, now = current_actor(), form.text("reason"), current_time()
    token = ""
    try:
        with unit_of_work() as work:
            if action == "rotate":
                _agent, token = service.rotate(work, agent_id, actor=actor, reason=reason, now=now)
            else:
                service.revoke(work, agent_id, actor=actor, reason=reason, now=now)
    except PiculusError as error:
        form.fail(error)
        status = 409 if isinstance(error, ConflictError) else 400
        return render_dialog("agents/action.html", status, form=form, agent=agent, action=action)
    if token:
        return _token_notice(agent_id, token)
    return finish(_("客户端 %(name)s 已吊销，连接随即断开", name=agent.name), url_for("agents.list_agents"))


@blueprint.get("/<int:agent_id>/connection")
def connection(agent_id: int) -> ResponseReturnValue:
    """The line of the token notice that turns green when the agent connects; there is no page of it."""
    agent = _visible(agent_id)
    if not is_fragment_request():
        return redirect(url_for("agents.show_agent", agent_id=agent_id))
    presence = service.presence_of(agent, current_time())
    return render_list("agents/_connection.html", "agents/_connection.html", agent=agent, presence=presence)


def _filter(form: Form) -> AgentFilter:
    allowed = read_group(db.session, form, current_group_ids())
    return AgentFilter(
        group_ids=None if allowed is None else list(allowed),
        presence=filters.word_of(form, "state", "agent"),
        text=form.text("q"),
        fixer_code=form.text("fixer"),
    )


def _visible(agent_id: int) -> Agent:
    """Return the agent if this person may see its group, else raise NotFoundError('agent')."""
    agent = service.get(db.session, agent_id)
    allowed = current_group_ids()
    if allowed is not None and agent.group_id not in allowed:
        raise NotFoundError("agent", id=agent_id)
    return agent


def _concerns(stop: Stop, agent: Agent) -> bool:
    """Whether a stop holds this agent's repairs back."""
    if stop.scope == "all":
        return True
    return stop.agent_id == agent.id if stop.scope == "agent" else stop.group_id == agent.group_id


def _new_dialog(form: Form, status: int) -> ResponseReturnValue:
    known = groups.list_groups(db.session)
    return render_dialog(
        "agents/new.html",
        status,
        form=form,
        group_choices=[(group.sys_code, f"{group.sys_code} {group.name}") for group in known],
    )


def _token_notice(agent_id: int, token: str) -> ResponseReturnValue:
    scheme = "wss" if request.is_secure else "ws"
    return render_notice(
        "agents/token.html",
        agent=service.get(db.session, agent_id),
        token=token,
        presence="offline",
        server_url=f"{scheme}://{request.host}/agent",
    )

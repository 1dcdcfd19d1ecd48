"""The red banner over every page while a stop stands that this person may see, an agent's own among them."""

from flask import Flask
from flask_login import current_user

from app.agents import queries
from app.agents.models import Agent, Stop
from app.agents.standing import list_standing
from app.extensions import db
from app.users.access import current_group_ids


def standing_stops() -> list[Stop]:
    """Return the standing stops that the person of this request may see, the widest first."""
    return list_standing(db.session, current_group_ids()) if current_user.is_authenticated else []


def stopped_agents() -> list[Agent]:
    """Return the agents, by name, that are stopped on their host and that this person may see."""
    return queries.stopped_here(db.session, current_group_ids()) if current_user.is_authenticated else []


def init_app(app: Flask) -> None:
    """Let every template ask for what stands."""
    app.jinja_env.globals["standing_stops"] = standing_stops
    app.jinja_env.globals["stopped_agents"] = stopped_agents

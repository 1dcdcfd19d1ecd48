"""Where WebSockets come in: ``/agent`` for agents, ``/ui`` for browsers.

flask-sock does the handshake in gunicorn's thread pool. Who may come in is settled in before_request, because
flask-sock answers 101 before a handler runs. The handler then takes the descriptor away from gunicorn, with
any bytes already read behind the handshake, gives it to the socket loop and returns, and flask-sock leaves by
StopIteration.

Taking away: our copy is made with dup, and gunicorn's descriptor is replaced (dup2) by the end of a closed
pair of sockets. A plain dup would not do: gunicorn ends a connection with shutdown(), which would end ours as
well.
"""

import os
import socket
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, g, request
from flask import session as login
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_sock import Sock
from simple_websocket import Server

from app.agents import service
from app.agents.hub import AgentSession
from app.agents.models import Agent
from app.extensions import db
from app.ticker import Viewer
from app.users.sessions import LOGIN_ID

blueprint = Blueprint("sockets", __name__)
sock = Sock()

BEARER: Final = "Bearer "


class NoThread:
    """Stands where simple-websocket would start its reading thread: the socket loop reads."""

    def __init__(self, target: Any) -> None:
        self.name = ""

    def start(self) -> None:
        """Start nothing."""


SERVER_OPTIONS: Final = {"thread_class": NoThread}
"""For flask-sock (SOCK_SERVER_OPTIONS)."""


@blueprint.before_request
def admit() -> ResponseReturnValue | None:
    """Let in whom the endpoint is for; anything else gets an ordinary HTTP answer and no 101."""
    runtime = current_app.extensions["runtime"]
    if not runtime.is_running or "gunicorn.socket" not in request.environ:
        return _refusal(503, "no sockets are served here")
    if request.content_length or request.headers.get("Transfer-Encoding"):
        return _refusal(400, "a handshake has no body")
    # simple-websocket would accept compression: 100 KB a connection. Not offered is not negotiated.
    request.environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
    return _admit_browser() if request.endpoint == "sockets.ui" else _admit_agent()


def _admit_agent() -> ResponseReturnValue | None:
    """By token alone: cookies are ignored, and a browser (it sends an Origin) is refused."""
    if "Origin" in request.headers:
        return _refusal(403, "not for browsers")
    header = request.headers.get("Authorization", "")
    token = header.removeprefix(BEARER).strip() if header.startswith(BEARER) else ""
    agent = service.authenticate(db.session, token)
    if agent is None:
        answer = _refusal(401, "unknown or revoked token")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    g.agent = agent
    return None


def _admit_browser() -> ResponseReturnValue | None:
    """By login, and only from our own pages: a WebSocket is not held back by the same-origin policy."""
    if urlsplit(request.headers.get("Origin", "")).netloc != request.host:
        return _refusal(403, "another origin")
    return None if current_user.is_authenticated else _refusal(401, "log in first")


def _refusal(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, mimetype="text/plain")


@sock.route("/agent", bp=blueprint)  # type: ignore[untyped-decorator]
def agent(ws: Server) -> None:
    """An agent's socket."""
    runtime = current_app.extensions["runtime"]
    this: Agent = g.agent
    session = AgentSession(
        runtime.hub, this.id, this.group_id, this.group.sys_code, request.remote_addr or ""
    )
    session.token_hash = this.token_hash
    own, received = take_socket(ws)
    session.peer = runtime.loop.peer(own, session)
    runtime.inbox.connect(session)
    runtime.loop.admit(session.peer, received)


@blueprint.get("/agent")
def knock() -> ResponseReturnValue:
    """Answer an agent that asks whether its token is taken, and opens no session."""
    answer = _refusal(426, "the token is taken; a WebSocket comes in here")
    answer.headers["Upgrade"] = "websocket"
    answer.headers["Connection"] = "Upgrade"
    return answer


@sock.route("/ui", bp=blueprint)  # type: ignore[untyped-decorator]
def ui(ws: Server) -> None:
    """A browser's live channel: it only receives ticks."""
    runtime = current_app.extensions["runtime"]
    own, received = take_socket(ws)
    peer = runtime.loop.peer(own, runtime.ticker)
    runtime.ticker.add(peer, Viewer(current_user.get_id(), login.get(LOGIN_ID, "")))
    runtime.loop.admit(peer, received)


def take_socket(ws: Server) -> tuple[socket.socket, bytes]:
    """Take the connection away from gunicorn; return it with the bytes gunicorn has read ahead."""
    theirs: socket.socket = ws.sock
    own = socket.socket(fileno=os.dup(theirs.fileno()))
    near, far = socket.socketpair()
    os.dup2(near.fileno(), theirs.fileno(), inheritable=False)
    near.close()
    far.close()
    ws.connected = False
    received: bytes = ws.environ["wsgi.input"].reader.unreader.take_buffered()
    return own, received

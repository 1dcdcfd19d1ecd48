"""gunicorn: one worker process with threads; agents' and browsers' sockets leave its pool after the
handshake.
"""

import resource
from typing import Any

worker_class = "gthread"
workers = 1
threads = 16
timeout = 60
graceful_timeout = 10
keepalive = 15
preload_app = False
max_requests = 0
limit_request_line = 8190
control_socket_disable = True
accesslog = None
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "WARNING", "handlers": ["stderr"]},
    "loggers": {
        "app": {"level": "INFO"},
        "gunicorn.error": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
    },
}


def when_ready(server: Any) -> None:
    """Allow as many sockets as this machine lets us have; the worker inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def post_worker_init(worker: Any) -> None:
    """The application is loaded: start what runs beside it."""
    worker.app.wsgi().extensions["runtime"].start()


def worker_exit(server: Any, worker: Any) -> None:
    """The requests are answered: stop it in order."""
    application = worker.app.callable
    if application is not None:
        application.extensions["runtime"].stop()

"""The application, for gunicorn and the ``flask`` command line."""

from app import create_app

app = create_app()

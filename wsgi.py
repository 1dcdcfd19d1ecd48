"""The application, for gunicorn and the ``flask`` command line."""

import os

from app import create_app

# What either writes into the instance folder is for its own user alone: the database holds whole trade rows.
os.umask(0o077)

app = create_app()

"""The blueprint all views of this feature stand on."""

from flask import Blueprint

blueprint = Blueprint("users", __name__)

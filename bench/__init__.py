"""Measures what the server, its agents and its pages can carry: ``python -m bench``."""

"""The Piculus agent: runs beside a production system, collects broken trades and repairs them."""

__version__ = "0.1.0"

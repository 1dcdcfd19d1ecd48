"""Repair plans: which fixer mends which system group's trades, how often, and when."""

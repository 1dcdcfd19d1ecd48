"""Repairs in processes of their own, so that one agent uses more than one core.

The agent's own process keeps session, journal and outbox; each worker process holds connections to production
and carries out one order at a time. Nothing it does rests on the agent's memory: what has had its effect
stands in production's tables, as it does when a whole agent dies.
"""

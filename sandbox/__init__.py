"""The sandbox: one small production system to try Piculus on.

A trade database, a double-entry ledger and a bank that is a process of its own, built to
docs/production-interface.md. It imports nothing of ``agent`` or ``app``: the two sides meet
only at that page, so that what one side gets wrong the other does not copy.
"""

"""The adapters: a SQL trade database, a SQL ledger and an HTTP bank.

docs/production-interface.md is what they speak; only agent/wiring.py constructs them.
"""

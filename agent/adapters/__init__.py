"""The adapters: a SQL trade database, a SQL ledger and an HTTP bank.

docs/production-interface.md is what they speak; only agent/__main__.py constructs them.
"""

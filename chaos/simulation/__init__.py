"""A deterministic simulation: the real server services and the real agent over databases in files.

Clock, randomness, transport and the life of each process are injected; one seed is one schedule.
"""

"""Fault drills: deterministic schedules, real processes that are killed, and mutants both must catch."""

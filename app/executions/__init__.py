"""Executions, their attempts and steps, and the scheduler that drives them."""

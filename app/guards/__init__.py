"""What keeps a plan from repairing too much by itself: limits, and circuit breakers (熔断)."""

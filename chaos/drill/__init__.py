"""Real processes killed at random over a bad wire, and what must hold of their books afterwards."""

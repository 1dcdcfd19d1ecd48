"""Sets up and starts Piculus with its sandbox on one machine."""

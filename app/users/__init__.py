"""People, their roles, and the system groups they may see."""

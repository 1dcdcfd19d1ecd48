"""The bank: a process of its own, with its own books, reached over HTTP only."""

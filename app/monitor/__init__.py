"""What people watch: frames, the home figures, and the live ticks of the pages."""

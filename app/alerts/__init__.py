"""Telling people beyond the console: channels, what is told, what was sent."""

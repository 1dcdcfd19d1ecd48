"""Agents, their connections, the commands sent to them and the frames that went both ways."""

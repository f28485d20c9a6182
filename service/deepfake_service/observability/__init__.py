"""Logs and metrics, neither of which carries content."""

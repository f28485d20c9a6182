"""Logs and metrics. Neither contains media, file names, URLs or scores."""

"""Metrics, intervals, error rates by condition and plots."""

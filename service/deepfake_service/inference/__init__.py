"""Scoring of still pictures in shared batches."""

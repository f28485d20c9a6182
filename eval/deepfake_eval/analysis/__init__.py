"""Compute metrics, intervals, error rates by condition and plots from tables of predictions.

It may import ``datasets`` and ``inference``, and scores nothing itself. Begin at
``summary.summarise``.
"""

"""Fit a network or a linear probe, and resume interrupted runs."""

"""Measurement of a model bundle on labelled data sets. Runs without torch."""

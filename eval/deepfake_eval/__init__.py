"""Measures a model bundle on labelled data sets: adapters, metrics, reliability. No torch."""

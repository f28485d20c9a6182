"""Signed evidence bundles: what they hold, how they are built, and how they are verified."""

"""Prepare, synthesise, augment and load training crops."""

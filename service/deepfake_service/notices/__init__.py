"""Notices: what has to be told to whom, by which law, and in which words."""

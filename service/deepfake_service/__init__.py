"""Serves a model bundle over HTTP and on the command line. No torch."""

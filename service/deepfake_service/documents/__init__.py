"""Typeset reports and notices, in Korean and English."""

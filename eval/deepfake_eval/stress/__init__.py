"""Measure what a bundle withstands: small changes of pictures, found by queries alone."""

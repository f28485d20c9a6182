"""Measure how fast the scorer and the service are, against yardsticks in the same run."""

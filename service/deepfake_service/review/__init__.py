"""What people see and decide: the queue, lists, items, reviews.

Imports `hashes` and what is below. Begin in `reviews.py` and `triage.py`.
"""

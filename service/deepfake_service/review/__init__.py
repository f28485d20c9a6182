"""What people see and decide: the queue, lists, items, reviews, flagged minors and known copies.

Imports `evidence` and what is below. Begin in `reviews.py` and `triage.py`.
"""

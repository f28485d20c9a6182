"""What people see and decide: the queue, lists, items, reviews, flagged minors and known copies.

Imports `notices` and what is below. Begin in `reviews.py` and `triage.py`.
"""

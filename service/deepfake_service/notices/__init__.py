"""Notices to platforms and authorities: their kinds, documents, deadlines and history.

Imports `evidence` and what is below. Begin in `kinds/` (a manifest each) and `desk.py`.
"""

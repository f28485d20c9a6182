"""Notices to platforms and authorities: their kinds, documents, deadlines and history."""

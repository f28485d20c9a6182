"""What is deleted and when: periods, sweeps in two stages, orphans, keys, restored backups.

Imports `examination`, whose jobs it cancels, and what is below. Begin in `due.py` and `sweeps.py`.
"""

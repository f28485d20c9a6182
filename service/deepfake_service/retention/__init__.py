"""What is deleted and when: periods, sweeps in two stages, orphans, keys, restored backups.

Imports every room. Begin in `due.py` and `sweeps.py`.
"""

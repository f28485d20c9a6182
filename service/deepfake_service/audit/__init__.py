"""What happened, so that no change goes unnoticed: the hash-chained log and its checkpoints.

Imports `platform`. Begin in `log.py`.
"""

"""What a case is: its reference, posts, media and locks, and the turns of accounts in the queue.

Imports `platform`, `audit` and `accounts`. Begin in `cases.py`.
"""

"""What a case is: its reference, posts, media and locks, and which cases and jobs a list has.

Imports `platform`, `audit` and `accounts`. Begin in `cases.py`.
"""

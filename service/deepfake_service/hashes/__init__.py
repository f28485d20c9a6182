"""Lists of hashes by which copies of media are recognised: of confirmed cases, and of flagged ones.

Imports `evidence` and what is below. Begin in `minor_flags.py`, which docs/minor-flags.md explains;
`hash_bank.py` names copies of confirmed cases, and `hash_list.py` is what both share.
"""

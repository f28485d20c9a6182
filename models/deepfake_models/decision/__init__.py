"""Decision: from logits to verdicts on faces, then tracks, then the item.

May import ``media``, ``faces`` and ``bundle``, and needs no pixels. Begin with ``level.Level``; a
scorer makes ``level.Criteria`` once, ``decide`` judges by them, and ``rules`` say when to abstain.
"""

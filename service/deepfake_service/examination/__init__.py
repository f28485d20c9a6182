"""From an upload to a verdict: submissions, the durable queue, workers, steps and webhooks.

Imports `hashes` and what is below. Begin in `submissions.py`, then `workflow.py` and `steps.py`.
"""

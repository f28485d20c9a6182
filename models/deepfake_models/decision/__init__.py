"""Turn logits into calibrated scores and verdicts, or abstain with reasons."""

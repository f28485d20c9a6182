"""Programs that tests run in place of ``deepfake``, or beside it."""

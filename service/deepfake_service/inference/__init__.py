"""Score pictures in batches."""

"""Export a fitted run as a model bundle."""

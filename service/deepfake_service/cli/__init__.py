"""The `deepfake` command."""

"""The `deepfake` command.

Imports everything else. Begin in `app.py`.
"""

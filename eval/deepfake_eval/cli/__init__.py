"""The command line ``deepfake-eval``, and the messages and progress that ``deepfake-train`` shares.

It may import every other room, the heavy ones only when a command runs. Begin at ``app``.
"""

from deepfake_eval.cli.app import main

__all__ = ["main"]

"""``python -m deepfake_service`` is ``deepfake``."""

from deepfake_service.cli import main

main()

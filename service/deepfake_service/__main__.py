"""``python -m deepfake_service`` is ``deepfake``."""

from deepfake_service.cli.app import main

if __name__ == "__main__":
    main()

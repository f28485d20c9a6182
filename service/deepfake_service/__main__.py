"""``python -m deepfake_service`` is ``deepfake``."""

from deepfake_service.cli import main

if __name__ == "__main__":
    main()

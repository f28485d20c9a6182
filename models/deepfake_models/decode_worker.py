"""Start the decoder process under its former module path.

A service that was started before an upgrade still runs ``python -m deepfake_models.decode_worker``.
"""

from __future__ import annotations

from deepfake_models.decode.worker import main

if __name__ == "__main__":
    main()

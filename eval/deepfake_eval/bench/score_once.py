"""Score one file and print the peak memory as JSON: a program, so that nothing else counts.

Its arguments are the file, the number of frames, and the folder of the bundle.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from deepfake_models.decode.sandbox import ProcessDecoder
from deepfake_models.scorer import Scorer


def main() -> None:
    """Run the program."""
    path, frames, bundle = sys.argv[1:]
    decoder = ProcessDecoder(workers=1)
    with Path(path).open("rb") as file:
        verdict = Scorer.open(Path(bundle), decoder=decoder).score(file, frames=int(frames))
    decoder.close()
    own, children = (
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    peaks = {"scorer_mb": own, "decoder_mb": children, "total_mb": own + children}
    sys.stdout.write(json.dumps({"faces_found": verdict.frames.with_face, **peaks}))


if __name__ == "__main__":
    main()

"""Score one file and print the peak memory as JSON: a program, so that nothing else counts.

Its arguments are the file, the number of frames, and the folder of the bundle.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from deepfake_eval.bench import machine
from deepfake_models.allocator import share_arenas
from deepfake_models.decode.sandbox import ProcessDecoder
from deepfake_models.scorer import Scorer


def main() -> None:
    """Run the program."""
    share_arenas()  # as the command line of the service does
    path, frames, bundle = sys.argv[1:]
    decoder = ProcessDecoder(workers=1)
    with Path(path).open("rb") as file:
        verdict = Scorer.open(Path(bundle), decoder=decoder).score(file, frames=int(frames))
    # Not by getrusage, which also counts what the parent held when it started this process.
    own, *decoders = (machine.memory(pid).peak_mb for pid in machine.family(os.getpid()))
    decoder.close()
    peaks = {"scorer_mb": own, "decoder_mb": sum(decoders), "total_mb": own + sum(decoders)}
    sys.stdout.write(json.dumps({"faces_found": verdict.frames.with_face, **peaks}))


if __name__ == "__main__":
    main()

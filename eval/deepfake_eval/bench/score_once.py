"""Score one file and print the peak memory as JSON: a program, so that nothing else counts.

Its arguments are the file, the number of frames, and the folder of the bundle.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from deepfake_eval.bench import machine
from deepfake_models.allocator import share_arenas
from deepfake_models.decode.base import OpenMedia
from deepfake_models.decode.sandbox import ProcessDecoder
from deepfake_models.scorer import Scorer


class MeasuredDecoder(ProcessDecoder):
    """A decoder that notes the peak memory of each of its processes before that one ends."""

    peak_mb = 0.0

    @contextmanager
    def open(self, source: BinaryIO, *, stills_only: bool = False) -> Iterator[OpenMedia]:
        """See ``Decoder.open``."""
        with super().open(source, stills_only=stills_only) as media:
            yield media
            _, *processes = machine.family(os.getpid())
            # The largest one, because the others share their pages with it.
            self.peak_mb = max(self.peak_mb, *(machine.memory(pid).peak_mb for pid in processes))


def main() -> None:
    """Run the program."""
    share_arenas()  # as the command line of the service does
    path, frames, bundle = sys.argv[1:]
    decoder = MeasuredDecoder(workers=1)
    with Path(path).open("rb") as file:
        verdict = Scorer.open(Path(bundle), decoder=decoder).score(file, frames=int(frames))
    # Not by getrusage, which also counts what the parent held when it started this process.
    own = machine.memory(os.getpid()).peak_mb
    decoder.close()
    peaks = {
        "scorer_mb": own, "decoder_mb": decoder.peak_mb, "total_mb": own + decoder.peak_mb
    }  # fmt: skip
    sys.stdout.write(json.dumps({"faces_found": verdict.frames.with_face, **peaks}))


if __name__ == "__main__":
    main()

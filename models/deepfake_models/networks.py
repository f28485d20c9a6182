"""Open the networks of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace

from deepfake_models.bundle import CLASSIFIER, MAP, WEIGHTS, Bundle, BundleSpec
from deepfake_models.classifier import KIND_LOGITS, LOGIT, Classifier
from deepfake_models.errors import BundleError
from deepfake_models.faces.mtcnn import FaceDetector, MtcnnDetector
from deepfake_models.processors import usable_cores
from deepfake_models.session import Device, OnnxSession, Session

FRAMES_AT_ONCE = 8
"""Frames and faces in one run on a GPU. On a CPU it is one, and the threads run side by side."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a bundle, ready to run, and the threads that run them."""

    detector: FaceDetector
    classifier: Classifier
    pool: Executor
    threads: int
    frames_at_once: int = 1


def open_networks(
    bundle: Bundle,
    *,
    device: Device = "auto",
    threads: int = 0,
    wrap: Callable[[OnnxSession], Session] | None = None,
) -> Networks:
    """Open the graphs of ``bundle``, as ``load_bundle`` returned it.

    ``threads`` of them run at a time, 0: one for each usable core. Each runs in one thread, because
    threads that share a run wait for each other at every layer. ``wrap`` puts something around each
    graph, such as a measurement.

    Raises:
        BundleError: a graph cannot be loaded, or the classifier's lacks an output.
        EngineMissing: onnxruntime is not installed.
    """

    providers: set[str] = set()
    # Maps are drawn so rarely that their graph is read again each time. What is kept for that must
    # not keep the graphs alive, of which the sessions hold copies.
    files = replace(bundle, graphs={})

    def session(name: str, read: Callable[[str], bytes]) -> Session:
        shares = name in (CLASSIFIER, MAP) and WEIGHTS in files.spec.files
        opened = OnnxSession(
            read(name),
            name=name,
            device=device,
            external={WEIGHTS: read(WEIGHTS)} if shares else None,
            arena=name in (CLASSIFIER, MAP),
        )
        if name == CLASSIFIER:
            _require_outputs(opened, files.spec)
        providers.add(opened.provider)
        return wrap(opened) if wrap else opened

    graphs = bundle.graphs
    pnet, rnet, onet, network = (
        session(name, graphs.__getitem__)
        for name in ("pnet.onnx", "rnet.onnx", "onet.onnx", CLASSIFIER)
    )
    gpu = providers != {"CPUExecutionProvider"}
    threads = threads or usable_cores()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="examine")
    classifier = Classifier(
        network,
        bundle.spec,
        open_map=(lambda: session(MAP, files.read)) if MAP in bundle.spec.files else None,
        faces_at_once=FRAMES_AT_ONCE if gpu else 1,
        pool=pool,
    )
    detector = MtcnnDetector(pnet, rnet, onet, bundle.spec.detector)
    return Networks(detector, classifier, pool, threads, FRAMES_AT_ONCE if gpu else 1)


def _require_outputs(classifier: OnnxSession, spec: BundleSpec) -> None:
    """Raise ``BundleError`` unless the classifier has the outputs that ``spec`` promises."""
    promised = [LOGIT, *([KIND_LOGITS] if spec.kinds else [])]
    missing = [name for name in promised if name not in classifier.output_names]
    if missing:
        raise BundleError(f"{classifier.name}: has no output {' and no output '.join(missing)}")

"""Open the networks of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from deepfake_models.bundle import CLASSIFIER, MAP, WEIGHTS, Bundle
from deepfake_models.classifier import Classifier
from deepfake_models.faces.mtcnn import FaceDetector, MtcnnDetector
from deepfake_models.session import Device, OnnxSession, Session


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a bundle, ready to run."""

    detector: FaceDetector
    classifier: Classifier


def open_networks(
    bundle: Bundle,
    *,
    device: Device = "auto",
    threads: int = 0,
    wrap: Callable[[OnnxSession], Session] | None = None,
) -> Networks:
    """Open the graphs of ``bundle``, as ``load_bundle`` returned it.

    ``wrap`` puts something around each graph, such as a measurement.

    Raises:
        BundleError: a graph cannot be loaded.
        EngineMissing: onnxruntime is not installed.
    """

    def session(name: str, read: Callable[[str], bytes]) -> Session:
        shares = name in (CLASSIFIER, MAP) and WEIGHTS in bundle.spec.files
        opened = OnnxSession(
            read(name),
            name=name,
            device=device,
            threads=threads,
            external={WEIGHTS: read(WEIGHTS)} if shares else None,
            arena=name in (CLASSIFIER, MAP),
        )
        return wrap(opened) if wrap else opened

    graphs = bundle.graphs
    pnet, rnet, onet, network = (
        session(name, graphs.__getitem__)
        for name in ("pnet.onnx", "rnet.onnx", "onet.onnx", CLASSIFIER)
    )
    # Maps are drawn so rarely that their graph is read again each time. The closure must not keep
    # the graphs alive, of which the sessions hold copies.
    files = replace(bundle, graphs={})
    classifier = Classifier(
        network,
        bundle.spec,
        open_map=(lambda: session(MAP, files.read)) if MAP in bundle.spec.files else None,
    )
    return Networks(MtcnnDetector(pnet, rnet, onet, bundle.spec.detector), classifier)

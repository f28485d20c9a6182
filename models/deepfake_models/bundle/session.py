"""Run ONNX graphs with onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from deepfake_models.errors import BundleError, DeepfakeError
from deepfake_models.machine import Device, usable_cores

# onnxruntime from 1.29 on reports its use to its maker unless this is set before it is imported.
# Nothing may leave the machine.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


class EngineMissing(DeepfakeError):
    """onnxruntime is not installed. Install the extra "cpu" or "cuda" of deepfake-service."""


class OnnxSession:
    """A graph in onnxruntime. Safe to call from several threads at once.

    ``device="auto"`` uses CUDA where this build of onnxruntime and the machine offer it, else the
    CPU. ``threads`` bounds the threads of one operator; 0 means one for each available core.
    ``external`` holds the content of the files in which the graph keeps tensors, by name.

    ``arena`` is for graphs with large buffers of few shapes: within a run they are taken from an
    arena, which halves the classifier's time, and returned to the system afterwards. An arena of a
    graph with many shapes keeps the buffers of all of them.

    Raises:
        EngineMissing: onnxruntime is not installed.
        BundleError: ``model`` is not a graph that onnxruntime can load.
        DeepfakeError: ``device`` is ``cuda``, but this onnxruntime has no CUDA.
    """

    def __init__(
        self,
        model: bytes,
        *,
        name: str = "model",
        device: Device = "auto",
        threads: int = 1,
        external: Mapping[str, bytes] | None = None,
        arena: bool = False,
    ) -> None:
        try:
            import onnxruntime as ort
        except ModuleNotFoundError as error:
            raise EngineMissing from error
        ort.set_default_logger_severity(3)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        # Spinning threads of one session would starve the decoder and the other graphs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = arena
        options.enable_mem_pattern = False
        if external:
            options.add_external_initializers_from_files_in_memory(
                list(external), list(external.values()), [len(v) for v in external.values()]
            )
        available = ort.get_available_providers()
        providers = ["CPUExecutionProvider"]
        if device == "cuda" and "CUDAExecutionProvider" not in available:
            raise DeepfakeError(
                "The device cuda was requested, but the installed onnxruntime has no CUDA. Install "
                "onnxruntime-gpu in its place, or choose the device cpu."
            )
        if device in ("auto", "cuda") and "CUDAExecutionProvider" in available:
            providers.insert(0, "CUDAExecutionProvider")
        try:
            self._session = ort.InferenceSession(model, options, providers=providers)
        except Exception as error:  # onnxruntime's errors share no base class but Exception
            raise BundleError(
                f"{name}: the file is not a graph that onnxruntime can load. Export the bundle "
                "again, or upgrade onnxruntime."
            ) from error
        self._run_options = ort.RunOptions()
        if arena and providers == ["CPUExecutionProvider"]:
            self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self.name = name
        self.output_names: tuple[str, ...] = tuple(o.name for o in self._session.get_outputs())
        self.provider: str = self._session.get_providers()[0]

    def run(
        self, outputs: Sequence[str] | None, feed: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """Return ``outputs`` (all, in the graph's order, when ``None``) for the inputs ``feed``."""
        result: list[NDArray[Any]] = self._session.run(
            list(outputs) if outputs is not None else None, dict(feed), self._run_options
        )
        return result

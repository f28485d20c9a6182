"""The loop that most people write first: the yardstick of ``deepfake-eval bench``.

OpenCV reads every frame. Of the frames that are to be examined, facenet-pytorch's MTCNN searches
each at full size, and a timm network scores the faces in eager torch, one frame at a time.

It runs in a process and, if wanted, in an environment of its own, which needs: facenet-pytorch,
timm, torch, opencv-python-headless. It imports nothing of this repository. It prints the seconds of
a second pass over the video as JSON: the first one warms up. Weights of the classifier are random,
since they do not change the time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from timm import create_model
from torch import nn

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


class FirstBlocks(nn.Module):
    """The first ``blocks`` blocks of a vision transformer, and a linear layer on its token."""

    def __init__(self, name: str, blocks: int) -> None:
        super().__init__()
        self.vit = create_model(name, pretrained=False)
        self.vit.prune_intermediate_layers([blocks - 1], prune_norm=True, prune_head=True)
        self.head = nn.Linear(self.vit.num_features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, 1) logits of (N, 3, S, S) pictures."""
        [(_, prefix)] = self.vit.forward_intermediates(
            x, indices=1, return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
        )
        return self.head(prefix[:, 0])


class BesideBlocks(nn.Module):
    """The first ``blocks`` blocks of a Swin, over all stages, and a linear layer on the mean of its
    tokens."""

    def __init__(self, name: str, blocks: int) -> None:
        super().__init__()
        swin = create_model(name, pretrained=False)
        self.patch_embed, self.stages = swin.patch_embed, nn.ModuleList()
        for stage in swin.layers:
            stage.blocks = stage.blocks[:blocks]
            blocks -= len(stage.blocks)
            if len(stage.blocks):
                self.stages.append(stage)
        self.head = nn.Linear(self.stages[-1].blocks[-1].dim, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, 1) logits of (N, 3, S, S) pictures."""
        x = self.patch_embed(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(x.mean(dim=(1, 2)))


def crops(picture, box, scales, size):
    """Return a (V, 3, size, size) tensor: the square around ``box`` at each of ``scales``."""
    x0, y0, x1, y1 = box
    cut = []
    for scale in scales:
        half = max(x1 - x0, y1 - y0) * scale / 2
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        square = picture.crop((int(x - half), int(y - half), int(x + half), int(y + half)))
        cut.append(np.asarray(square.resize((size, size))))
    pixels = torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).float() / 255
    return (pixels - MEAN) / STD


@torch.no_grad()
def score(path, frames, detector, networks, options):
    """Score ``frames`` evenly spread frames of the video; return the seconds that it took."""
    logits, number, began = [], 0, time.perf_counter()
    capture = cv2.VideoCapture(path)
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = {round(k * (total - 1) / max(frames - 1, 1)) for k in range(frames)}
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        if number in wanted:
            picture = Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            boxes, _ = detector.detect(picture)
            for box in boxes if boxes is not None else []:
                pixels = crops(picture, box, options.scales, options.size)
                parts = [networks[0](pixels), *(beside(pixels[-1:]) for beside in networks[1:])]
                logits.append(float(torch.cat(parts).mean()))
        number += 1
    capture.release()
    return {"seconds": time.perf_counter() - began, "faces": len(logits), "frames_read": number}


def main() -> None:
    """Score one video twice, and print what the second time gave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", required=True, help="name in timm")
    parser.add_argument("--blocks", type=int, default=0, help="use only the first blocks; 0: all")
    parser.add_argument("--beside", help="name of a Swin in timm, for the last square of a face")
    parser.add_argument("--beside-blocks", type=int, help="use only its first blocks")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--scales", type=float, nargs="+", default=[1.3])
    parser.add_argument("--frames", type=int, required=True, help="number of frames to examine")
    parser.add_argument("video")
    options = parser.parse_args()
    if options.blocks:
        networks = [FirstBlocks(options.network, options.blocks).eval()]
    else:
        networks = [create_model(options.network, pretrained=False, num_classes=1).eval()]
    if options.beside:
        networks.append(BesideBlocks(options.beside, options.beside_blocks).eval())
    detector = MTCNN(keep_all=True, device="cpu")
    for _ in range(2):
        facts = score(options.video, options.frames, detector, networks, options)
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()

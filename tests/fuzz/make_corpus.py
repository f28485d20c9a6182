"""Make the files of ``corpus/``: ``python -m tests.fuzz.make_corpus``.

They are small synthetic files, one folder a format. They are stored because encoders and signatures
differ between machines and days, and a mutant is only found again from the same bytes.
"""

from __future__ import annotations

import io
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import c2pa
import numpy as np
import pillow_heif
from PIL import Image, PngImagePlugin

from tests.support import footage, small_bundles

CORPUS = Path(__file__).parent / "corpus"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def main() -> None:
    """Write every file of the corpus."""
    for name, content in files():
        path = CORPUS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def files() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file."""
    face = footage.resized(footage.astronaut()[20:220, 130:330], 72, 72)
    pattern = (np.indices((48, 64)).sum(axis=0)[..., None] * (3, 5, 7) % 256).astype(np.uint8)
    frames = footage.panning(10, 96, 80)
    crf = {"crf": "40", "preset": "veryfast"}
    yield "mp4/h264.mp4", footage.encode(frames, options=crf, gop=4)
    fragmented = {"movflags": "frag_keyframe+empty_moov"}
    yield (
        "mp4/fragmented.mp4",
        footage.encode(frames, options=crf, gop=4, container_options=fragmented, sound=True),
    )
    yield "mp4/hevc.mp4", footage.encode(frames[:4], codec="libx265", options=crf)
    vpx = {"crf": "50", "b": "0"}
    yield (
        "webm/vp9.webm",
        footage.encode(frames, container="webm", codec="libvpx-vp9", options=vpx),
    )
    yield "webm/vp8.webm", footage.encode(frames[:5], container="webm", codec="libvpx")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8769] = 6, "maker", {0x9003: "2026:01:02 03:04:05"}
    yield "jpeg/exif.jpg", footage.picture(face, "JPEG", exif=exif, quality=60)
    yield "jpeg/progressive.jpg", footage.picture(pattern, "JPEG", progressive=True, quality=50)
    grey = Image.fromarray(pattern[..., 0]).convert("CMYK")
    yield "jpeg/cmyk.jpg", footage.picture(grey, "JPEG", quality=40)
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "<x/>", zip=True)
    texts.add_text("Comment", "text", zip=True)
    yield (
        "png/face.png",
        footage.picture(footage.resized(face, 40, 40), "PNG", pnginfo=texts, exif=exif),
    )
    palette = Image.fromarray(pattern).quantize(16)
    yield "png/palette.png", footage.picture(palette, "PNG", transparency=3)
    yield "png/animated.png", footage.animation([pattern, pattern[::-1].copy()], "PNG", [50, 50])
    yield "webp/face.webp", footage.picture(face, "WEBP", quality=30)
    yield "gif/animated.gif", footage.animation([pattern, pattern[::-1].copy()], "GIF", [50, 50])
    yield "avif/face.avif", footage.picture(face, "AVIF", quality=30)
    heif = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(face)).save(heif, quality=30)
    yield "heic/face.heic", heif.getvalue()
    yield from _signed(footage.picture(face, "JPEG", quality=50), "jpeg/credentials.jpg")
    yield from _signed(footage.encode(frames[:4], options=crf), "mp4/credentials.mp4")
    yield from _signed(footage.picture(pattern, "PNG"), "png/credentials.png")
    spec = json.loads((small_bundles.small_bundle_dir() / "bundle.json").read_text())
    spec["training"] = {"shortened": True}
    yield "json/model-bundle.json", json.dumps(spec).encode()


def _signed(content: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield a file with Content Credentials by a certificate made for this."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-quiet")
        commands = (
            ("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=Root"),
            ("req", *curve, "-keyout", "key", "-out", "csr", "-subj", "/O=Maker/CN=Camera"),
            ("x509", "-req", "-in", "csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "3650",
             "-extfile", "ext", "-out", "crt"),
        )  # fmt: skip
        (folder / "ext").write_text(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=critical,emailProtection\nsubjectKeyIdentifier=hash\n"
            "authorityKeyIdentifier=keyid\n"
        )
        for words in commands:
            subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
        chain = (folder / "crt").read_bytes() + (folder / "ca.crt").read_bytes()
        signing = c2pa.C2paSigningAlg.ES256
        key = (folder / "key").read_bytes()
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(signing, chain, key, None))
        plain, signed = folder / Path(name).name, folder / f"signed-{Path(name).name}"
        plain.write_bytes(content)
        action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
        claim = {
            "claim_generator_info": [{"name": "generator", "version": "1"}],
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
        }
        c2pa.Builder(
            json.dumps(claim),
            context=c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}}),
        ).sign_file(str(plain), str(signed), signer)
        yield name, signed.read_bytes()


if __name__ == "__main__":
    main()

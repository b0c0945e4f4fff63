"""Make `emissions.npz`: what a real text recogniser says of 200 lines of English.

The lines of `lines.txt` are drawn with the DejaVu fonts, more than half of them spoilt a little by blur, noise or faded
ink, and read by the recognition model of PP-OCRv4, which the wheel `rapidocr-onnxruntime` carries. Of the model's 6,625
classes the file keeps the blank, the characters that occur in the texts or on the model's best paths, and one class
with the sum of all others.

    python examples/ocr/make_emissions.py

needs the package, the dependency group `examples` and Debian's `fonts-dejavu-core`; `README.md` tells more.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from seqloss_rs import ctc_loss

HERE = Path(__file__).resolve().parent
FONTS = Path("/usr/share/fonts/truetype/dejavu")  # where Debian's fonts-dejavu-core puts them
FACES = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
)
MODEL = "models/ch_PP-OCRv4_rec_infer.onnx"
SEED = 20261124

IMAGE_HEIGHT = 48  # pixels: what the model was trained on
FONT_SIZES = (18, 26)  # pixels, both included
MARGIN = 8  # pixels of paper on the left and on the right

BLANK = 0
REST = "\N{REPLACEMENT CHARACTER}"  # how the class of all other characters is written when it is decoded

# Pipelines that scale every line to one width squeeze the long ones until they have fewer frames than characters: no
# alignment is left, and the CTC loss is infinite. This line is kept as such an honest failure.
SQUEEZED = "Begin at the beginning, and go on till you come to the end: then stop."
SQUEEZED_WIDTH = 320  # pixels, 40 frames


class Damage(NamedTuple):
    """What happened to a line between the printer and the recogniser."""

    blur: float  # radius of the Gaussian blur, in pixels
    noise: float  # standard deviation of the noise added to every pixel, of 255
    ink: float  # darkness of the ink: 1 is black on white, 0 invisible


# How many of a hundred lines come out how badly. A human still reads the worst of them.
GRADES = (
    (45, Damage(blur=0.0, noise=0.0, ink=1.0)),
    (25, Damage(blur=0.7, noise=10.0, ink=0.9)),
    (22, Damage(blur=1.2, noise=15.0, ink=0.85)),
    (8, Damage(blur=1.6, noise=22.0, ink=0.7)),
)


def draw(text: str, fonts: Path, random: np.random.Generator) -> Image.Image:
    """A grey picture of one line of text, 48 pixels high."""
    face = FACES[random.integers(len(FACES))]
    size = int(random.integers(FONT_SIZES[0], FONT_SIZES[1], endpoint=True))
    shares = np.array([share for share, _ in GRADES], dtype=float)
    damage = GRADES[random.choice(len(GRADES), p=shares / shares.sum())][1]

    font = ImageFont.truetype(str(fonts / face), size, layout_engine=ImageFont.Layout.BASIC)
    width = 2 * MARGIN + int(np.ceil(font.getlength(text)))
    picture = Image.new("L", (width, IMAGE_HEIGHT), color=255)
    ink = round(255 * (1 - damage.ink))
    ImageDraw.Draw(picture).text((MARGIN, IMAGE_HEIGHT / 2), text, font=font, fill=ink, anchor="lm")
    if text == SQUEEZED:
        picture = picture.resize((SQUEEZED_WIDTH, IMAGE_HEIGHT), Image.Resampling.BICUBIC)
    picture = picture.filter(ImageFilter.GaussianBlur(damage.blur))
    noisy = np.asarray(picture, dtype=np.float64) + damage.noise * random.standard_normal((IMAGE_HEIGHT, picture.width))
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


class Recogniser:
    """PP-OCRv4's recognition model: a picture in, the probabilities of its classes in every frame out."""

    def __init__(self) -> None:
        package = importlib.util.find_spec("rapidocr_onnxruntime")
        if package is None or not package.submodule_search_locations:
            raise SystemExit("rapidocr-onnxruntime is not installed: it is in the dependency group `examples`")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the same sums in the same order everywhere
        path = Path(package.submodule_search_locations[0]) / MODEL
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        characters = self._session.get_modelmeta().custom_metadata_map["character"].splitlines()
        self.classes = ["", *characters, " "]  # the blank first and the space last: PaddleOCR's order

    def __call__(self, picture: Image.Image) -> NDArray[np.float64]:
        """The probabilities, (T, 6625)."""
        pixels = np.asarray(picture, dtype=np.float32) / 127.5 - 1
        (softmax,) = self._session.run(None, {"x": np.broadcast_to(pixels, (1, 3, *pixels.shape))})
        probabilities = softmax[0].astype(np.float64)
        # The model's softmax is one of float32: its rows sum to 1 within 2e-6. Here they do exactly.
        return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))


def best_path(scores: NDArray[np.floating]) -> list[int]:
    """The class of every frame, merged where it repeats, without the blank."""
    path = scores.argmax(axis=1)
    starts = np.append(True, path[1:] != path[:-1])
    return [int(label) for label in path[starts] if label != BLANK]


def keep(probabilities: NDArray[np.float64], kept: list[int]) -> NDArray[np.float16]:
    """Log-probabilities of the kept classes, and after them that of all others together."""
    others = np.ones(probabilities.shape[1], dtype=bool)
    others[kept] = False
    rest = probabilities[:, others].sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):  # a probability below float32's range is 0, and its logarithm -inf
        return np.asarray(np.log(np.hstack([probabilities[:, kept], rest])), dtype=np.float16)


def make(lines: Path, fonts: Path, pictures: Path | None) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
    """The arrays of the file, by the names of `ctc_loss`'s parameters, and the losses that all of the classes give."""
    texts = lines.read_text(encoding="ascii").splitlines()
    recogniser = Recogniser()
    number_of = {character: number for number, character in enumerate(recogniser.classes)}

    emissions = []
    losses = []
    for index, text in enumerate(texts):
        picture = draw(text, fonts, np.random.default_rng([SEED, index]))
        if pictures is not None:
            picture.save(pictures / f"{index:03}.png")
        probabilities = recogniser(picture)
        labels = np.array([number_of[character] for character in text])
        with np.errstate(divide="ignore"):
            losses.append(ctc_loss(np.log(probabilities), labels, blank=BLANK, scores="log_probs", reduction="sum"))
        emissions.append(probabilities)

    occurring = {number_of[character] for text in texts for character in text}
    occurring.update(number for emission in emissions for number in best_path(emission))
    kept = [BLANK, *sorted(occurring, key=lambda number: recogniser.classes[number])]
    classes = [*(recogniser.classes[number] for number in kept), REST]
    class_of = {character: number for number, character in enumerate(classes)}

    arrays = {
        "logits": np.concatenate([keep(emission, kept) for emission in emissions]),
        "logits_offsets": np.cumsum([0, *(len(emission) for emission in emissions)], dtype=np.int64),
        "targets": np.array([class_of[character] for text in texts for character in text], dtype=np.int32),
        "target_lengths": np.array([len(text) for text in texts], dtype=np.int32),
        "blank": np.array(BLANK),
        "scores": np.array("log_probs"),
        "texts": np.array(texts),
        "classes": np.array(classes),
    }
    return arrays, np.array(losses)


def changes(arrays: dict[str, NDArray[Any]], losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much the file moves the loss of each line that has an alignment: it keeps few classes, and rounds."""
    kept = np.asarray(
        ctc_loss(
            np.split(arrays["logits"], arrays["logits_offsets"][1:-1]),
            arrays["targets"],
            target_lengths=arrays["target_lengths"],
            blank=BLANK,
            scores="log_probs",
            reduction="none",
        )
    )
    aligned = np.isfinite(losses)
    if (aligned != np.isfinite(kept)).any():
        raise AssertionError("a line is infeasible with fewer classes only, or with all of them only")
    return np.asarray(np.abs(kept[aligned] - losses[aligned]))


def main() -> int:
    """Read the command line, make the file, and say what is in it."""
    parser = argparse.ArgumentParser(description="Draw lines of text, read them, and write what the recogniser says.")
    parser.add_argument("--lines", type=Path, default=HERE / "lines.txt", help="the texts, one a line")
    parser.add_argument("--fonts", type=Path, default=FONTS, help="the folder of the DejaVu fonts")
    parser.add_argument("--pictures", type=Path, help="an existing folder that receives the drawn lines as PNG files")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "emissions.npz")
    options = parser.parse_args()
    if missing := [face for face in FACES if not (options.fonts / face).is_file()]:
        raise SystemExit(f"--fonts: {options.fonts} has no {missing[0]} (Debian: apt-get install fonts-dejavu-core)")

    arrays, losses = make(options.lines, options.fonts, options.pictures)
    np.savez_compressed(options.output, allow_pickle=False, **arrays)
    frames, classes = arrays["logits"].shape
    size = options.output.stat().st_size / 1e6
    print(f"{options.output}: {len(arrays['texts'])} lines, {frames} frames, {classes} classes, {size:.2f} MB")
    print(f"no loss moves by more than {changes(arrays, losses).max():.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Picture files as inputs: read, turned upright, brought to one size and scaled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn import functional

from runner.data.memory import scaled
from runner.errors import DataMissing
from runner.text import one_line

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
MODES = {"rgb": "RGB", "grey": "L"}
FITS = ("crop", "pad", "stretch")
_ORIENTATION = 0x0112  # EXIF's tag
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # its values, and the members of Pillow's Image.Transpose


@dataclass(frozen=True)
class Pictures:
    """How a picture becomes an input (channels, side, side) float32 in [-1, 1]."""

    size: int
    """Height and width that a picture is resized to."""
    mode: str = "rgb"
    """Its colours: rgb or grey."""
    fit: str = "crop"
    """How one that is not square gets there: crop its longer side, pad its shorter one with black, or stretch it."""
    border: int = 0
    """Black pixels that are put around it."""
    enlarged: int = 0
    """Height and width that it is interpolated to after the scaling; 0 for none."""

    @property
    def side(self) -> int:
        """Height and width of an input."""
        return self.enlarged or self.size + 2 * self.border

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an input."""
        return 3 if self.mode == "rgb" else 1, self.side, self.side

    def __call__(self, file: Path) -> Tensor:
        """Return the input of one file; DataMissing, naming it, if it is no whole picture of 8 bits per channel."""
        return self.inputs(self.pixels(file)[None])[0]

    def pixels(self, file: Path) -> Tensor:
        """Return a picture (channels, size, size) uint8, with its border; raises as a call does."""
        try:
            found = torch.from_numpy(numpy.array(_fitted(file, self)))
        except Exception as error:  # Pillow's decoders raise nearly anything
            reason = one_line(error) or type(error).__name__
            raise DataMissing(f"{file} cannot be read as an image ({reason}); repair or remove it") from error
        pixels = found.permute(2, 0, 1).contiguous() if found.dim() == 3 else found.unsqueeze(0)
        return functional.pad(pixels, [self.border] * 4) if self.border else pixels

    def inputs(self, pixels: Tensor) -> Tensor:
        """Return the inputs of pictures (batch, channels, height, width) uint8."""
        inputs = scaled(pixels)
        if not self.enlarged:
            return inputs
        return functional.interpolate(inputs, size=(self.side, self.side), mode="bilinear", align_corners=False)


def _fitted(file: Path, wanted: Pictures) -> Any:
    """Return the picture in Pillow's form, in the wanted colours and size; of an animation, its first frame."""
    from PIL import Image, ImageOps

    size, bilinear = (wanted.size, wanted.size), Image.Resampling.BILINEAR
    with Image.open(file) as image:
        if image.mode[0] in "IF":  # Pillow would clip them to bytes
            raise ValueError(f"its pixels have Pillow's mode {image.mode}, not 8 bits per channel")
        image.load()  # raises for a truncated file, where what comes next might not
        turned = _upright(image)
        if turned.mode == "P" and "transparency" in turned.info:
            turned = turned.convert("RGBA")  # the same colours, and no warning
        coloured = turned.convert(MODES[wanted.mode])
    if wanted.fit == "pad":
        return ImageOps.pad(coloured, size, bilinear)
    return coloured.resize(size, bilinear) if wanted.fit == "stretch" else ImageOps.fit(coloured, size, bilinear)


def _upright(image: Any) -> Any:
    """Return the picture turned as its EXIF orientation says; invalid EXIF says nothing."""
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION))
    except Exception:  # as of decoders
        turn = None
    return image if turn is None else image.transpose(turn)

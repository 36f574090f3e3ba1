"""ImageNet's validation images from folders on the user's disk, and what paper 20 does with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from mercer.data.image_file import open_image
from mercer.errors import FileFormatError
from mercer.progress import track

__all__ = ["accuracy", "images_in", "read_image"]

SUFFIXES = (".jpeg", ".jpg", ".png")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as the official networks were trained
BICUBIC = 3  # pillow's number for it
CROP = 0.9  # of the shorter side, as in the official evaluation


def images_in(folder: Path) -> list[Path]:
    """All images below a folder, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def read_image(path: Path, side: int) -> Tensor:
    """``(3, side, side)``, float32: the shorter side resized, the middle cut out, normalised.

    Raises:
        MissingExtra: pillow is not installed.
        FileFormatError: it is no image.
    """
    image = open_image(path, "RGB")
    scale = int(side / CROP) / min(image.size)
    width, height = (max(side, round(n * scale)) for n in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    image = image.resize((width, height), BICUBIC).crop((left, top, left + side, top + side))
    planes = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(side, side, 3).permute(2, 0, 1)
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    return (planes.float() / 255.0 - mean) / deviation


@torch.no_grad()
def accuracy(model: nn.Module, folder: Path, *, side: int = 224, batch: int = 64) -> float:
    """Top-1 accuracy on a folder with a folder of images a class, in the order of their names, as the classes stand.

    Raises:
        FileFormatError: no images, or other than as many classes as the network has.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    rows = [(path, label) for label, name in enumerate(names) for path in images_in(folder / name)]
    if not rows:
        raise FileFormatError(
            f"{folder} has no images in {len(names)} folders: it is to have a folder of them a class."
        )
    device = next(model.parameters()).device
    right = 0
    for some in track(list(_batches(rows, batch)), description="ImageNet"):
        logits = model(torch.stack([read_image(path, side) for path, _ in some]).to(device))
        if logits.shape[1] != len(names):
            raise FileFormatError(f"{folder} has {len(names)} folders, the network knows {logits.shape[1]} classes.")
        right += int((logits.argmax(1).cpu() == torch.tensor([label for _, label in some])).sum())
    return right / len(rows)


def _batches(rows: list[tuple[Path, int]], size: int) -> Iterator[list[tuple[Path, int]]]:
    for first in range(0, len(rows), size):
        yield rows[first : first + size]

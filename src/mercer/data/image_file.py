"""An image from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mercer.errors import FileFormatError, MissingExtra

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["open_image"]


def open_image(path: Path, mode: str) -> Image.Image:
    """The image as pillow has it, all read, in a mode such as "RGB", or "L" for grey.

    Raises:
        MissingExtra: pillow is not installed.
        FileFormatError: it is no image that can be read.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtra("reading images needs pillow: pip install 'mercer[tables]'") from error
    try:
        with Image.open(path) as file:
            return file.convert(mode)
    except (UnidentifiedImageError, OSError) as error:
        raise FileFormatError(f"{path} is no image that can be read: {error}") from None

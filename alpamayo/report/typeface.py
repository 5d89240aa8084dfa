"""The typeface of the pictures."""

from functools import cache
from importlib import resources

from PIL import ImageFont


@cache
def typeface(size: int) -> ImageFont.FreeTypeFont:
    """Load DejaVu Sans, which matplotlib ships and which has all characters of the pictures."""
    fonts = resources.files("matplotlib") / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), size)

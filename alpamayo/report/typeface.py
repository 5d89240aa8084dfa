"""The typeface of the pictures."""

from functools import cache
from importlib import resources

from PIL import ImageFont


@cache
def typeface(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows all that we write."""
    fonts = resources.files("matplotlib") / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), size)

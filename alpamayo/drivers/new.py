"""Make a file with a driver of the user's own, which drives as it is."""

import keyword
import re
from pathlib import Path

from alpamayo.drivers import template
from alpamayo_sim.errors import InputError, shown
from alpamayo_sim.io.files import replacing

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def new_driver(name: str, folder: Path) -> tuple[Path, str]:
    """Write ``name``.py with a driver that follows its route.

    Args:
        name: words joined by - or _, such as my-driver; the module is my_driver, the class MyDriver.
        folder: where the file goes.

    Returns:
        The file, and the driver as ``--driver`` takes it.

    Raises:
        InputError: the name cannot be one of a module, the file exists, or it cannot be written.
    """
    module = name.replace("-", "_").lower()
    class_name = "".join(word[:1].upper() + word[1:] for word in re.split("[-_]", name))
    if not NAME.fullmatch(name) or keyword.iskeyword(module) or keyword.iskeyword(class_name):
        raise InputError(f"the name of a driver is {shown(name)}, must be a word of letters, digits, - and _")
    path = folder / f"{module}.py"
    if path.exists():
        raise InputError(f"{path} exists already; choose another name")
    source = Path(template.__file__).read_text(encoding="utf-8")
    source = source.replace(template.RouteFollower.__name__, class_name)
    source = source.replace(f'"{template.RouteFollower.name}"', f'"{module.replace("_", "-")}"')
    try:
        with replacing(path) as partial:
            partial.write_text(source, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    return path, f"{module}:{class_name}"

"""Commands around drives: make a driver of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from alpamayo.cli_options import Json, print_json

app = typer.Typer()
new_app = typer.Typer(help="Make a file to begin with.", no_args_is_help=True)
app.add_typer(new_app, name="new")


@new_app.callback()
def new() -> None:
    """Make a file to begin with."""


@new_app.command("driver")
def new_driver(
    name: Annotated[str, typer.Argument(help="A name such as my-driver: it makes my_driver.py with MyDriver.")],
    folder: Annotated[Path, typer.Option("--folder", help="Where the file goes.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write a driver of your own, which follows its route as it is, and say how to drive and measure it."""
    from alpamayo.drivers.new import new_driver

    path, driver = new_driver(name, folder)
    commands = [f"alpamayo drive cut-in --driver {driver}", f"alpamayo evaluate --driver {driver},idm --episodes 12"]
    if as_json:
        print_json({"file": str(path), "driver": driver, "next": commands})
        return
    where = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    print(f"wrote {path}\nnext: " + "\n      ".join(where + command for command in commands))  # noqa: T201

"""The command ``alpamayo serve``: serve a driver to other processes and machines, or check a served one."""

import hashlib
import json
import sys
import threading
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from alpamayo.cli_options import Checkpoint, DriverArgs, DriverName, Json, print_json

if TYPE_CHECKING:
    from alpamayo.runs import DriverChoice

MAX_PORT = 65535


def serve(
    driver: DriverName = "tiny",
    host: Annotated[
        str, typer.Option(help="The address to serve at; others than this machine need 0.0.0.0 or one of its own.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=MAX_PORT, help="The port; 0 lets the system choose.")] = 50051,
    check: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Check a served driver instead, ours or any other: the pre-flight."),
    ] = None,
    checkpoint: Checkpoint = None,
    driver_args: DriverArgs = None,
    as_json: Json = False,
) -> None:
    """Serve a driver by AlpaSim's egodriver contract until Ctrl-C, or check a served one."""
    if check is not None:
        _check(check, as_json)
        return
    from alpamayo.drivers.own import parse_arguments
    from alpamayo.drivers.registry import check_name

    check_name(driver, recorded=False)
    from alpamayo.egodriver.server import EgodriverService, serving
    from alpamayo.runs import DriverChoice

    choice = DriverChoice.of(driver, False, checkpoint, parse_arguments(driver_args or []))
    service = EgodriverService(choice.make, _version(choice))
    with serving(service, host, port) as bound:
        address = f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"
        if as_json:
            print_json({"driver": driver, "address": address})
        else:
            print(f"{driver} is served at grpc://{address}; Ctrl-C ends it")  # noqa: T201
        if host != "127.0.0.1":
            print("Anyone who reaches this address can drive with it: there is no password.", file=sys.stderr)  # noqa: T201
        sys.stdout.flush()
        threading.Event().wait()


def _version(choice: "DriverChoice") -> str:
    """Return what names the driver, its weights, its arguments and its code."""
    inputs = json.dumps(choice.inputs(), sort_keys=True)
    return f"alpamayo-{choice.name}-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"


def _check(address: str, as_json: bool) -> None:
    from alpamayo.egodriver.preflight import Outcome, preflight
    from alpamayo.report.console import bold, plain_console

    found = preflight(address)
    failed = any(check.outcome == Outcome.FAIL for check in found)
    if as_json:
        rows = [{"check": check.name, "outcome": str(check.outcome), "why": check.why} for check in found]
        print_json({"address": address, "passed": not failed, "checks": rows})
    else:
        table = Table("check", "outcome", "why", box=None, padding=(0, 3, 0, 0), header_style="dim")
        for check in found:
            table.add_row(bold(check.name), str(check.outcome), check.why)
        plain_console().print(table)
    if failed:
        raise typer.Exit(1)

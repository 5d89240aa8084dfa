"""Draw ``docs/architecture.svg``: the packages of the house and which of them import which.

    python docs/draw_architecture.py            # write the picture
    python docs/draw_architecture.py --check    # exit code 1 where the picture no longer fits the code

Each box is a package or a module. It stands above everything that it imports. Arrows that follow from other arrows
are left out: where A imports B and B imports C, no arrow goes from A to C.
"""

import argparse
import hashlib
import sys
import tomllib
from pathlib import Path
from typing import Any

import grimp
import matplotlib
import networkx
from matplotlib.patches import FancyBboxPatch

matplotlib.use("svg")
from matplotlib import pyplot

PICTURE = Path(__file__).with_name("architecture.svg")
STOREYS = (  # from the ground up; wings of one storey do not import each other
    (("alpamayo_sim", "#dbe5f1"), ("alpamayo_kernels", "#f4d6d6")),
    (("alpamayo_scenarios", "#d9ead3"), ("alpamayo_datasets", "#d0e4e8"), ("alpamayo_vla_model", "#e5d9ee")),
    (("alpamayo", "#f3e3c3"),),
)
WIDTH, FLOOR_HEIGHT, STOREY_GAP, BOX_HEIGHT = 26.0, 1.0, 1.3, 0.52
HIDDEN = {"__main__"}


def import_graph() -> grimp.ImportGraph:
    """Return all imports of the house but those that pyproject.toml allows against the direction."""
    imports = grimp.build_graph(*(wing for storey in STOREYS for wing, _ in storey))
    settings = tomllib.loads((PICTURE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    for contract in settings["tool"]["importlinter"]["contracts"]:
        for allowed in contract.get("ignore_imports", ()):
            importer, _, imported = allowed.partition(" -> ")
            imports.remove_import(importer=importer, imported=imported)
    return imports


def wing_graph(imports: grimp.ImportGraph, wing: str) -> networkx.DiGraph:
    """Return the direct children of a wing with the imports between them."""
    graph = networkx.DiGraph()
    graph.add_nodes_from(name.rpartition(".")[2] for name in sorted(imports.find_children(wing)))
    graph.remove_nodes_from(HIDDEN)
    for importer in sorted(imports.find_descendants(wing)):
        for imported in sorted(imports.find_modules_directly_imported_by(importer)):
            above, below = importer.split(".")[1], [*imported.split("."), ""][1]
            if imported.startswith(f"{wing}.") and above != below and {above, below} <= set(graph):
                graph.add_edge(above, below)
    return networkx.transitive_reduction(graph)


def wing_edges(imports: grimp.ImportGraph) -> list[tuple[str, str]]:
    """Return which wing imports which."""
    wings = [wing for storey in STOREYS for wing, _ in storey]
    found = set()
    for importer in imports.modules:
        for imported in imports.find_modules_directly_imported_by(importer):
            found.add((importer.split(".")[0], imported.split(".")[0]))
    graph = networkx.DiGraph((a, b) for a, b in found if a != b and a in wings and b in wings)
    return sorted(networkx.transitive_reduction(graph).edges)


def floors(graph: networkx.DiGraph) -> list[list[str]]:
    """Return the rooms by floor, the lowest first."""
    level: dict[str, int] = {}
    for room in reversed(list(networkx.lexicographical_topological_sort(graph))):
        level[room] = 1 + max((level[below] for below in graph.successors(room)), default=-1)
    return [sorted(room for room in level if level[room] == floor) for floor in range(max(level.values()) + 1)]


def draw(imports: grimp.ImportGraph, path: Path) -> None:
    """Write the picture."""
    graphs = {wing: wing_graph(imports, wing) for storey in STOREYS for wing, _ in storey}
    rows = {wing: floors(graph) for wing, graph in graphs.items()}
    heights = [max(len(rows[wing]) for wing, _ in storey) * FLOOR_HEIGHT + 0.6 for storey in STOREYS]
    total = sum(heights) + STOREY_GAP * (len(STOREYS) - 1)
    matplotlib.rcParams["svg.hashsalt"] = "alpamayo"
    figure = pyplot.figure(figsize=(WIDTH * 0.6, total * 0.6))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(-0.2, WIDTH + 0.2), ylim=(-0.2, total + 0.2))
    axes.set_axis_off()
    base, places = 0.0, {}
    for storey, height in zip(STOREYS, heights, strict=True):
        shares = [max(max(len(row) for row in rows[wing]), 3) for wing, _ in storey]
        left = 0.0
        for (wing, colour), share in zip(storey, shares, strict=True):
            width = WIDTH * share / sum(shares)
            places[wing] = (left, base, width, height)
            draw_wing(axes, wing, graphs[wing], rows[wing], (left + 0.1, base, width - 0.2, height), colour)
            left += width
        base += height + STOREY_GAP
    for above, below in wing_edges(imports):
        (x0, y0, w0, _), (x1, y1, w1, h1) = places[above], places[below]
        tail = (min(max(x1 + w1 / 2, x0 + 0.5), x0 + w0 - 0.5), y0)
        head = (min(max(x0 + w0 / 2, x1 + 0.5), x1 + w1 - 0.5), y1 + h1)
        axes.annotate("", head, tail, arrowprops={"arrowstyle": "-|>", "color": "#666666", "linewidth": 2.2})
    figure.savefig(path, metadata={"Date": None, "Description": digest(imports)})


def draw_wing(
    axes: Any,
    wing: str,
    graph: networkx.DiGraph,
    rows: list[list[str]],
    place: tuple[float, float, float, float],
    colour: str,
) -> None:
    """Draw one wing: its name, its rooms floor by floor, and the arrows between them."""
    x0, y0, width, height = place
    axes.add_patch(FancyBboxPatch((x0, y0), width, height, boxstyle="round,pad=0,rounding_size=0.15", color=colour))
    axes.text(x0 + 0.15, y0 + height - 0.1, wing, fontsize=11, weight="bold", va="top")
    spots = {}
    for floor, row in enumerate(rows):
        for k, room in enumerate(row):
            spots[room] = (x0 + width * (k + 0.5) / len(row), y0 + 0.45 + FLOOR_HEIGHT * floor)
        size = min(1.95, 0.92 * width / len(row))
        for room in row:
            x, y = spots[room]
            box = (x - size / 2, y - BOX_HEIGHT / 2)
            style = "round,pad=0,rounding_size=0.08"
            axes.add_patch(
                FancyBboxPatch(box, size, BOX_HEIGHT, boxstyle=style, facecolor="white", edgecolor="#555555", zorder=3)
            )
            axes.text(x, y, room, fontsize=7.5, ha="center", va="center", zorder=4)
    for above, below in sorted(graph.edges):
        head, tail = spots[below], spots[above]
        arrow = {"arrowstyle": "-|>", "color": "#8899aa", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
        axes.annotate(
            "", (head[0], head[1] + BOX_HEIGHT / 2), (tail[0], tail[1] - BOX_HEIGHT / 2), arrowprops=arrow, zorder=2
        )


def digest(imports: grimp.ImportGraph) -> str:
    """Return a digest of all that the picture shows."""
    shown = [(wing, *edge) for storey in STOREYS for wing, _ in storey for edge in wing_graph(imports, wing).edges]
    rooms = [(wing, *wing_graph(imports, wing)) for storey in STOREYS for wing, _ in storey]
    return hashlib.sha256(repr((sorted(shown), rooms, wing_edges(imports))).encode()).hexdigest()[:16]


def main() -> int:
    """Draw, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="draw nothing; say whether the picture fits the code")
    parser.add_argument("--out", type=Path, default=PICTURE)
    options = parser.parse_args()
    imports = import_graph()
    if options.check:
        return 0 if digest(imports) in options.out.read_text(encoding="utf-8") else 1
    draw(imports, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

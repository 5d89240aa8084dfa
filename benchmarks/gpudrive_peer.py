"""PufferLib 3.0.0's C environment ``ocean/gpudrive``, built outside the tree from a user's copy of its sources.

Get the sources with ``TMPDIR=folder pip download --no-clean --no-binary :all: --no-deps pufferlib==3.0.0``: pip may
stop at the package's build, which needs more downloads, but leaves its sources in the folder. The drawing code
(raylib) is removed; everything else is compiled unchanged with PufferLib's flags (-O2), and its own Python code
converts the map. The driver below only makes environments, draws random actions and steps.
"""

import ast
import ctypes
import json
import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

DRAWING = ('#include "raylib.h"', '#include "raymath.h"', '#include "rlgl.h"')
DRIVER = """
GPUDrive* make(const char* map) {
    GPUDrive* env = calloc(1, sizeof(GPUDrive));
    env->map_name = strdup(map);
    env->spawn_immunity_timer = 30;
    env->reward_vehicle_collision = env->reward_offroad_collision = -0.1f;
    allocate(env);
    c_reset(env);
    return env;
}
int controlled(GPUDrive* env) { return env->active_agent_count; }
int objects(GPUDrive* env) { return env->num_objects; }
void run(GPUDrive** envs, int count, int steps) {
    static unsigned int random = 1;
    for (int t = 0; t < steps; t++)
        for (int k = 0; k < count; k++) {
            for (int i = 0; i < envs[k]->active_agent_count; i++) {
                random = random * 1664525u + 1013904223u;
                envs[k]->actions[2 * i] = (random >> 16) % 7;
                envs[k]->actions[2 * i + 1] = (random >> 20) % 13;
            }
            c_step(envs[k]);
        }
}
"""


class Peer:
    """``copies`` environments of one scene."""

    def __init__(self, sources: Path, log: Path, folder: Path, copies: int, flags: tuple[str, ...] = ("-O2",)) -> None:
        home = next(sources.rglob("ocean/gpudrive"))
        library = _build(home / "gpudrive.h", folder, flags)
        scene = folder / "map.bin"
        _converter(home / "gpudrive.py").save_map_binary(json.loads(log.read_text()), str(scene))
        library.make.restype = ctypes.c_void_p
        self._run, self._copies = library.run, copies
        self._envs = (ctypes.c_void_p * copies)(*(library.make(str(scene).encode()) for _ in range(copies)))
        first = ctypes.c_void_p(self._envs[0])
        self.controlled, self.objects = library.controlled(first), library.objects(first)

    def steps(self, count: int) -> None:
        """Step all environments with random actions."""
        self._run(self._envs, self._copies, count)


def _build(header: Path, folder: Path, flags: tuple[str, ...]) -> ctypes.CDLL:
    text = header.read_text()
    for line in DRAWING:
        text = text.replace(line, "")
    text = text[: text.index("const Color STONE_GRAY")]
    source = folder / "peer.c"
    source.write_text("#include <stdbool.h>\n#define PI 3.14159265358979323846f\n" + text + DRIVER)
    built = folder / "peer.so"
    subprocess.run(["gcc", *flags, "-w", "-shared", "-fPIC", str(source), "-o", str(built), "-lm"], check=True)
    return ctypes.CDLL(str(built))


def _converter(path: Path) -> Any:
    """Load only those functions of the peer that convert a scene's JSON into its binary format."""
    wanted = {"calculate_area", "simplify_polyline", "save_map_binary"}
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in wanted]
    names: dict[str, Any] = {"struct": struct, "print": lambda *_: None}
    exec(compile(tree, str(path), "exec"), names)
    return SimpleNamespace(**{name: names[name] for name in wanted})

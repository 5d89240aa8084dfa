# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""The Warp kernel around ``step.h``. Warp evaluates the annotations, so they must not be strings."""

from pathlib import Path

import warp as wp

_FOLDER = Path(__file__).parent
_HEADERS = wp.ModuleBuildOptions(
    extra_cpu_include_dirs=[str(_FOLDER)],
    extra_cpu_preamble='#include "layout.h"',
    extra_build_dependencies=[str(_FOLDER / name) for name in ("vectors.h", "step.h", "layout.h")],
)
_OPTIONS = {"enable_backward": False, "cpu_compiler_flags": "-march=native", "extra_build_options": _HEADERS}


@wp.func_native("cpu_step::call(command, a, b, c, d, e, f);")
def call(command: wp.int64, a: wp.int64, b: wp.int64, c: wp.int64, d: wp.int64, e: wp.int64, f: wp.int64):  # noqa: D103
    ...


@wp.kernel(module="unique", module_options=_OPTIONS)
def enter(command: wp.int64, a: wp.int64, b: wp.int64, c: wp.int64, d: wp.int64, e: wp.int64, f: wp.int64):
    """Call one of the functions of ``step.h``."""
    call(command, a, b, c, d, e, f)

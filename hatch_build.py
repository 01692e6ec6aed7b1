"""Compiles `index/_kernel.pyx` when a wheel is made or a checkout is installed.

Without a C compiler the package is installed all the same, as pure Python.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from Cython.Build import cythonize
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from setuptools import Distribution, Extension
from setuptools.errors import BaseError, CCompilerError

MODULE = "index._kernel"
# A multiplication fused with an addition would round once less than NumPy does.
C_FLAGS = ["-O3", "-ffp-contract=off"]


class KernelHook(BuildHookInterface):
    """Puts the compiled module beside its source, and into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        try:
            compiled = compile_kernel(Path(self.root))
        except CannotCompile as problem:
            self.app.display_warning(
                f"{problem}; installing without: decisions cost about eight times as much"
            )
            return
        if version != "editable":
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"][str(compiled)] = f"index/{compiled.name}"


class CannotCompile(Exception):
    """No compiler, no Python headers, or a compiler that fails."""


def compile_kernel(root: Path) -> Path:
    """Compile the kernel for the running Python, and put it beside its source.

    Raises:
        CannotCompile: it cannot be done on this machine.
    """
    source = root / "index" / "_kernel.pyx"
    with tempfile.TemporaryDirectory() as aside:
        extension = Extension(MODULE, [str(source)], extra_compile_args=C_FLAGS)
        modules = cythonize([extension], build_dir=aside, quiet=True)
        command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
        command.build_lib = command.build_temp = aside
        command.ensure_finalized()
        try:
            command.run()
        except (BaseError, CCompilerError, OSError) as problem:
            raise CannotCompile(f"{source.name} cannot be compiled ({problem})") from problem
        made = Path(command.get_ext_fullpath(MODULE))
        placed = source.with_name(made.name)
        beside = placed.with_suffix(".new")
        beside.write_bytes(made.read_bytes())
        beside.chmod(0o755)
        # A running process keeps the file it has mapped.
        beside.replace(placed)
    return placed

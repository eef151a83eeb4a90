"""What the wheel needs beside its files: the fused attention kernel, where a compiler is at hand."""

import os
import runpy
import sysconfig
import tempfile
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeHook(BuildHookInterface):
    """Compiles samvlm/model/native; without a compiler the wheel is one for every platform, and slower on CPUs.

    SAMVLM_NATIVE=0 leaves the kernel out, SAMVLM_NATIVE=1 fails where it cannot be built.
    """

    def initialize(self, version: str, build_data: dict) -> None:
        """Build the kernel: into the source tree for an editable installation, else aside."""
        wish = os.environ.get("SAMVLM_NATIVE", "")
        if wish == "0":
            return
        native = runpy.run_path(str(Path(self.root) / "samvlm" / "model" / "native" / "build.py"))
        self.folder = tempfile.TemporaryDirectory()
        library = (
            native["LIBRARY"] if version == "editable" else Path(self.folder.name) / native["LIBRARY"].name
        )
        try:
            native["build"](library)
        except OSError as problem:
            if wish == "1":
                raise
            self.app.display_warning(f"without the fused attention kernel: {problem}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        if version != "editable":
            build_data["force_include"][str(library)] = "samvlm/model/native/attention.dso"

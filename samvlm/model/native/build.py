"""Build the kernels for CPUs: `python -m samvlm.model.native.build`. Needs a C++ compiler and nothing else.

A wheel does it while it is built, where there is a compiler; without the kernel samvlm computes the same by PyTorch's
operators. The source is compiled once for each instruction set of the machine's family, and the library chooses at run
time, so that one build serves all processors of a platform, and every version of Python and PyTorch.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LIBRARY = FOLDER / "attention.dso"  # no ".so", which Python would take for a module of its own
KERNELS = ("attention", "decoder")
FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fno-exceptions", "-fno-rtti", "-ffp-contract=fast", "-Wall"]
AVX512 = ["-mavx512f", "-mavx512vl", "-mavx512bw", "-mfma"]
SETS = {"plain": [], "avx2": ["-mavx2", "-mfma"], "avx512": AVX512, "avx512_bf16": [*AVX512, "-mavx512bf16"]}


def compiler() -> str | None:
    """The C++ compiler: $CXX, or the first of c++, g++ and clang++ that there is."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next((found for found in map(shutil.which, names) if found), None)


def build(library: Path = LIBRARY) -> Path:
    """Compile the kernel into `library`, which is replaced as a whole.

    Raises:
        OSError: no compiler, an operating system that is not served, or a compiler that fails, with what it says.
    """
    if os.name != "posix":
        raise OSError(f"the kernel is for Linux and macOS, not {platform.system()}.")
    cxx = compiler()
    if cxx is None:
        raise OSError("no C++ compiler: install one (on Debian or Ubuntu the package g++), or set CXX.")
    sets = SETS if platform.machine().lower() in ("x86_64", "amd64") else {"plain": []}
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        objects = []
        for kernel in KERNELS:
            for name, flags in sets.items():
                target, source = Path(folder) / f"{kernel}_{name}.o", FOLDER / f"{kernel}.cpp"
                run([cxx, *FLAGS, *flags, f"-DSET={name}", "-c", str(source), "-o", str(target)])
                objects.append(target)
        made = Path(folder) / library.name
        parts = [*map(str, objects), str(FOLDER / "dispatch.cpp")]
        needed = ["-Wl,--as-needed"] if sys.platform == "linux" else []  # no C++ library is
        run([cxx, *FLAGS, "-shared", *parts, "-o", str(made), "-pthread", *needed])
        os.replace(made, library)
    return library


def run(command: list[str]) -> None:
    """Run the compiler. Raises OSError with the first lines of what it says where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(command)} failed:\n{done.stderr[:2000]}")


if __name__ == "__main__":
    try:
        print(build())
    except OSError as error:
        sys.exit(str(error))

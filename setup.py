"""What pyproject.toml cannot say: the kernels in C, and the tag of a wheel that has them.

ASR_BATCH_PURE=1 leaves them out: a wheel for every machine, on which ONNX Runtime does their work. For
another kind of processor name its compiler and platform:

    export CC=aarch64-linux-gnu-gcc LDSHARED="aarch64-linux-gnu-gcc -shared"
    _PYTHON_HOST_PLATFORM=linux-aarch64 pip wheel .
"""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

C = Path("models/kernels/c")

# A library for ctypes, without Python's headers. `optional`: without a compiler the installation goes on.
# -ffp-contract=off: the same numbers on every processor; -fno-tree-pre keeps GCC from moving sums to the
# stack; without errno and traps rounding is one instruction.
KERNELS = Extension(
    "asr_batch.models.kernels._kernels",
    [str(C / "dispatch.c"), *sorted(map(str, (C / "simd").glob("*.c")))],
    depends=sorted(map(str, C.rglob("*.h"))),
    extra_compile_args=[
        "-O2",
        "-g0",
        "-std=c11",
        "-ffp-contract=off",
        "-fno-tree-pre",
        "-fno-math-errno",
        "-fno-trapping-math",
    ],
    libraries=["m"],
    optional=True,
)


class Library(build_ext):
    """Nothing of Python's is in the library, so no version of Python is in its name."""

    def get_ext_filename(self, fullname: str) -> str:
        """Where it lies in the package."""
        return str(Path(*fullname.split("."))) + ".so"


class Wheel(bdist_wheel):
    """One wheel for every version of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """For this kind of machine with the library; for all where nobody could or would compile it."""
        built = self.get_finalized_command("build_ext").get_outputs() if self.distribution.ext_modules else []
        return "py3", "none", super().get_tag()[2] if any(Path(path).is_file() for path in built) else "any"


setup(
    cmdclass={"bdist_wheel": Wheel, "build_ext": Library},
    ext_modules=[] if os.environ.get("ASR_BATCH_PURE") == "1" else [KERNELS],
)

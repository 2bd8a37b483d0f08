"""What pyproject.toml cannot say: the kernels in C, and the tag of a wheel that has them."""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel

C = Path("models/whisper/kernels/c")


class Wheel(bdist_wheel):
    """One wheel for every version of Python: nothing of Python's ABI is used."""

    def get_tag(self) -> tuple[str, str, str]:
        """For this kind of machine with the kernels' library; for all where nobody could compile it."""
        built = self.get_finalized_command("build_ext").get_outputs()
        has_library = any(Path(path).is_file() for path in built)
        return "py3", "none", super().get_tag()[2] if has_library else "any"


setup(
    cmdclass={"bdist_wheel": Wheel},
    ext_modules=[
        # A library for ctypes, without Python's headers. `optional`: without a compiler the installation goes
        # on, and ONNX Runtime does their work. -ffp-contract=off: the same numbers on every processor;
        # -fno-tree-pre keeps GCC from moving sums to the stack; without errno and traps it rounds in one
        # instruction.
        Extension(
            "asr_batch.models.whisper.kernels._kernels",
            [str(C / "dispatch.c"), *sorted(map(str, (C / "simd").glob("*.c")))],
            depends=sorted(map(str, C.rglob("*.h"))),
            extra_compile_args=[
                "-O2",
                "-std=c11",
                "-ffp-contract=off",
                "-fno-tree-pre",
                "-fno-math-errno",
                "-fno-trapping-math",
            ],
            libraries=["m"],
            optional=True,
        )
    ],
)

"""What pyproject.toml cannot say: kernels are compiled where there is a compiler, into a wheel for all."""

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel


class OneForAll(bdist_wheel):
    """A wheel for every machine of a fleet: those that cannot load its library go without."""

    def get_tag(self) -> tuple[str, str, str]:
        """No ABI of Python's is used; a library of another machine is left alone."""
        return "py3", "none", "any"


setup(
    cmdclass={"bdist_wheel": OneForAll},
    ext_modules=[
        # A library for ctypes, without Python's headers. `optional`: without a compiler the installation goes
        # on, and ONNX Runtime does their work. -fno-tree-pre keeps GCC from moving sums to the stack.
        Extension(
            "asr_batch.models.whisper.kernels._kernels",
            ["models/whisper/kernels/kernels.c"],
            extra_compile_args=["-O2", "-fno-tree-pre"],
            optional=True,
        )
    ],
)

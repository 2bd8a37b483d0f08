"""What pyproject.toml cannot say yet: the kernels are compiled where there is a compiler."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        # A library for ctypes, without Python's headers. `optional`: without a compiler the installation goes
        # on, and ONNX Runtime does their work. -fno-tree-pre keeps GCC from moving sums to the stack.
        Extension(
            "asr_batch.models.whisper._kernels",
            ["models/whisper/kernels.c"],
            extra_compile_args=["-O2", "-fno-tree-pre"],
            optional=True,
        )
    ]
)

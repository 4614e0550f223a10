"""The machine that code is made for: its name, its features and the vectors worth using there.

Every emitter asks the `Target` and nothing else, so code for a lesser machine (or, as text, for
another architecture) can be made and tested anywhere. llvmlite is imported on first use.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...frozen import frozen
from ..ready import undisturbed

# Vectors of 64 bytes need masks for every element size (bw, vl) and 64-bit conversions (dq).
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"})


@frozen
class Target:
    """A machine. `features` is LLVM's list (`+avx2,-avx512f`); emitters look at nothing else."""

    cpu: str
    features: str
    vector_bytes: int
    triple: str

    @property
    def architecture(self) -> str:
        return self.triple.partition("-")[0]

    @property
    def is_x86(self) -> bool:
        return self.architecture in ("x86_64", "amd64")

    def has(self, feature: str) -> bool:
        return feature in _enabled(self.features)

    @property
    def has_fma(self) -> bool:
        """Whether `llvm.fma` is an instruction; elsewhere it would be a call of libm per lane."""
        return not self.is_x86 or self.has("fma") or self.has("avx512f")

    @property
    def has_rounding(self) -> bool:
        """Whether floor, ceil, trunc and rint are instructions (SSE 4.1, every AArch64)."""
        return not self.is_x86 or self.has("sse4.1") or self.has("avx")

    @property
    def has_avx512(self) -> bool:
        return self.is_x86 and self.vector_bytes == 64

    @property
    def narrow(self) -> bool:
        """Whether a vector is shorter than a cache line, and so than a panel."""
        return self.vector_bytes < 64

    @property
    def slowness(self) -> float:
        """How many times as long as `backends.cost` says work takes: its figures are AVX-512's, and
        products and loops alike take as long as their vectors are many."""
        return 64 / self.vector_bytes

    @property
    def has_avx2(self) -> bool:
        return self.is_x86 and (self.has("avx2") or self.has_avx512)


@lru_cache(maxsize=64)
def _enabled(features: str) -> frozenset[str]:
    return frozenset(f[1:] for f in features.split(",") if f.startswith("+"))


def make(cpu: str, features: str, triple: str) -> Target:
    """The target with the widest vectors that pay: 64 bytes on AVX-512, 32 on AVX, else 16.

    AVX without AVX2 has no integer instructions of 32 bytes; LLVM splits those in two.
    """
    enabled = _enabled(features)
    if enabled >= _AVX512:
        width = 64
    elif enabled & {"avx", "avx2"}:
        width = 32
    else:
        width = 16
    return Target(cpu, features, width, triple)


@lru_cache(maxsize=1)
def binding() -> Any:
    """llvmlite's binding with the native target ready; the one place that imports it (55 ms)."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@lru_cache(maxsize=1)
def version() -> str:
    """llvmlite's version and LLVM's: others may compile the same text to other code."""
    import llvmlite

    return f"llvmlite {llvmlite.__version__}, LLVM {binding().llvm_version_info}"


@lru_cache(maxsize=1)
@undisturbed
def host() -> Target:
    """The machine that this process runs on."""
    llvm = binding()
    return make(
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        llvm.get_process_triple(),
    )


@lru_cache(maxsize=1)
def is_narrow() -> bool:
    """Whether this machine is narrow; without llvmlite, where no plan is run, it is not."""
    try:
        return host().narrow
    except ImportError:
        return False


def baseline(target: Target) -> Target:
    """The least machine of the architecture: it has neither AVX nor the masks of AVX-512."""
    return make("x86-64" if target.is_x86 else "generic", "", target.triple)


@lru_cache(maxsize=16)
def machine(target: Target, quick: bool = False) -> Any:
    """LLVM's TargetMachine. `quick` generates code at level 0, which on any machine but `baseline`
    aborts the process when it meets a mask of AVX-512.

    Small and position-independent: constants are then reached relative to the program counter,
    where the JIT's default, the large model, spends a 10-byte move on each.
    """
    llvm = binding()
    try:
        described = llvm.Target.from_triple(target.triple)
    except RuntimeError:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        described = llvm.Target.from_triple(target.triple)
    return described.create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=0 if quick else 2,
        reloc="pic",
        codemodel="small",
        jit=True,
    )

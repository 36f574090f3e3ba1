"""The Triton kernels of sequences compile for a GPU, though none is here: an interpreter takes more than a compiler."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="fused kernels need triton: pip install 'mercer[gpu]'")

# In a process of its own, since tests run with Triton's interpreter.
SCRIPT = """
import json
from dataclasses import replace
import torch, triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from mercer.nn.attention.gpu import kernels as attention
from mercer.nn.convolution.gpu import kernels as convolution, row_kernels as rows
from mercer.nn.convolution.gpu.plans import PLANS

INTEGERS = ("n", "E", "T", "chunks", "L", "count", "B", "H", "R", "M", "rows", "SIZE", "HX", "HG", "HP", "HQ")
WIDE = ("START", "LOG", "STATES", "LAST", "OUT", "S", "D", "DS", "DD")
FLAGS = {name: True for name in ("HAS_START", "HAS_DECAY", "REVERSE", "HAS_SKIP", "HAS_IN", "HAS_OUT", "HAS_GATE",
                                 "HAS_P", "HAS_Q")}
plan = replace(PLANS[0], outer=16)
constants = FLAGS | {"C": 64, "BE": 64, "BT": 64, "BM": 16, "N1": plan.n1, "N2": plan.n2, "ROUNDED": tl.bfloat16,
                     "OPERAND": tl.bfloat16, "PRECISION": "tf32"}
found = {}
for kernel in (attention.chunk_states, attention.chunk_outputs, convolution.convolve, convolution.pull,
               rows.outer, rows.convolve_rows, rows.pull_rows, rows.outer_adjoint):
    names, signature = kernel.arg_names, {}
    used = constants | ({"M": plan.outer} if "BM" in names else {})
    for name in names:
        # T is a length to attention, and the twiddles of a convolution.
        whole = name in INTEGERS and not (name == "T" and kernel.arg_names[0] in ("U", "Z"))
        wide = name in WIDE or name == "T"
        signature[name] = ("constexpr" if name in used else "i32" if whole else "*fp32" if wide else "*bf16")
    values = {(names.index(name),): value for name, value in used.items() if name in names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=values)
    options = {"num_warps": 4, "num_stages": 2 if "C" in names else 1}
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    found[kernel.__name__] = compiled.metadata.shared
print(json.dumps({"shared": found, "bound": PLANS[0].shared(torch.bfloat16), "rows": plan.shared(torch.bfloat16)}))
"""


@pytest.mark.slow(reason="compiles eight kernels in a process of its own")
def test_the_kernels_of_sequences_compile_for_capability_9(tmp_path):
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    passes = {"outer", "convolve_rows", "pull_rows", "outer_adjoint"}
    assert found["shared"].keys() == {"chunk_states", "chunk_outputs", "convolve", "pull", *passes}
    # What the plans say of shared memory is a bound; any card has 64 kB and more for attention.
    assert max(found["shared"]["convolve"], found["shared"]["pull"]) <= found["bound"]
    assert max(found["shared"]["convolve_rows"], found["shared"]["pull_rows"]) <= found["rows"]
    assert max(found["shared"]["outer"], found["shared"]["outer_adjoint"]) <= 64 * 1024
    assert max(found["shared"]["chunk_states"], found["shared"]["chunk_outputs"]) <= 64 * 1024

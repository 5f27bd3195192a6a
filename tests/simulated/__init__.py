"""A CUDA device in host memory, as strict as CUDA: `Machine.installed` stands in for torch's and Triton's edges.

Tensors are real ones that a program sees as `cuda:0`, `cuda:1` (`tensor`, `copies`). Work is queued on streams and
done only when something waits for it (`streams`); memory is counted, filled with NaN and given back (`memory`);
graphs are captured and replayed (`capture`); Triton's kernels are interpreted, and what `torch.compile` makes is run
as it stands (`launches`, `compiler`). What CUDA refuses is refused with CUDA's words, and written down in
`Machine.violations`, which a test must leave empty. Only what torch calls in C is stood in for (`calls`, `edges`): its
Python is its own.
"""

from tests.simulated.machine import Machine

__all__ = ["Machine"]

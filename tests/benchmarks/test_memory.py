import subprocess
import sys

PEAK_AFTER_100_MIB = """
from benchmarks.memory import peak_mib

held = bytearray(b"x") * (100 * 2**20)
del held
print(peak_mib())
"""


def test_the_peak_counts_freed_memory_but_not_that_of_the_parent() -> None:
    held_here = bytearray(b"x") * (300 * 2**20)
    done = subprocess.run([sys.executable, "-c", PEAK_AFTER_100_MIB], check=True, stdout=subprocess.PIPE, text=True)
    assert 100 < float(done.stdout) < 200 < len(held_here) / 2**20

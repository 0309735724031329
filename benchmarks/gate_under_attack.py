import sys
from pathlib import Path
import torch
from benchmarks.attacked_chains import chains, run_chain
torch.set_num_threads(1)
for c in chains(3):
    run_chain(Path(sys.argv[1]), Path(sys.argv[2]), c)
    print(c.file_name, flush=True)

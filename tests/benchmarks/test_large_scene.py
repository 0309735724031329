import subprocess
import sys
from pathlib import Path

STAGES_WITHOUT_NETWORK = """
import sys
from argparse import Namespace
from pathlib import Path
from benchmarks.large_scene import STAGES

for name in STAGES:
    if name not in {"prediction", "areas"}:
        STAGES[name](Path(sys.argv[1]), Namespace(height=512, width=512))
assert "torch" not in sys.modules
"""


def test_stages_without_a_network_load_no_torch(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", STAGES_WITHOUT_NETWORK, str(tmp_path)], check=True)

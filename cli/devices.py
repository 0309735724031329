"""Find the GPUs of this machine without importing torch."""

from collections.abc import Mapping
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/gpus")


def visible_gpus(environ: Mapping[str, str], driver: Path = DRIVER) -> list[str]:
    """Return the GPUs that a process may use, as ``CUDA_VISIBLE_DEVICES`` names them.

    Args:
        environ: The environment; its ``CUDA_VISIBLE_DEVICES`` is returned if set.
        driver: The folder in which NVIDIA's driver has an entry for each GPU; missing where there is none.
    """
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in (part.strip() for part in chosen.split(",")) if name and name != "-1"]
    return [str(number) for number in range(len(list(driver.iterdir())))] if driver.is_dir() else []

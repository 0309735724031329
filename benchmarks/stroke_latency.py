"""How long does a page compute until a stroke has mended a window, and are its classes those of the server?

``python -m benchmarks.stroke_latency [--repeats N]``

Strokes across a window of 512 px with seven synthetic bands are repainted by the page's own code
(``web/src/map/correct/strokes.ts``, in the V8 of Node, which is Chromium's) and by `models.strokes.repaint` on one
thread, in turns, so that a drift of the machine affects both alike. Times are of the processor. Writes
``var/bench/stroke_latency.json``.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Result, markdown, publish
from models.strokes import Stroke, as_probabilities, repaint

SIZE_PX: Final = 512
BANDS: Final = 7
CLASSES: Final = 4
SEED: Final = 1
LENGTHS: Final = {
    "1 of 30 px": [30],
    "1 of 200 px": [200],
    "1 of 400 px": [400],
    "3 of 400 px": [400] * 3,
    "8 of 400 px": [400] * 8,
}
WEB: Final = Path("web")
NODE: Final = Path(sys.executable).with_name("node")

# Reads a case from its first argument, and prints what it took (milliseconds of the processor) and what it found.
DRIVER: Final = """
import {{ readFileSync }} from "node:fs";
import {{ Grid }} from "{grid}";
import {{ repaint }} from "{strokes}";
const folder = process.argv[2];
const bytes = (name) => readFileSync(`${{folder}}/${{name}}`);
const guides = new Float32Array(new Uint8Array(bytes("bands")).buffer);
const proposal = new Grid({size}, {size}, new Uint8Array(bytes("proposal")));
const drawn = JSON.parse(bytes("strokes").toString());
repaint(guides, proposal, {classes}, [drawn[0]]); // standardises the bands, as the first stroke does
const before = process.cpuUsage();
const mended = repaint(guides, proposal, {classes}, drawn);
const {{ user, system }} = process.cpuUsage(before);
process.stdout.write(JSON.stringify({{ ms: (user + system) / 1000, classes: [...mended.values] }}));
"""


def window() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the bands (C, h, w) of a window, waves with noise, and its proposal (h, w), right in one half."""
    random = np.random.default_rng(SEED)
    rows, columns = np.mgrid[:SIZE_PX, :SIZE_PX]
    waves = [np.sin(columns / 40 + band) + np.cos(rows / 30 + band) for band in range(BANDS)]
    noise = random.normal(0, 0.3, (BANDS, SIZE_PX, SIZE_PX))
    return (np.stack(waves) + noise).astype(np.float32), (columns > SIZE_PX // 2).astype(np.uint8)


def strokes(lengths: list[int]) -> list[Stroke]:
    """Return strokes across the window, one below the other, of classes in turn."""
    found = []
    for number, length in enumerate(lengths):
        columns = (SIZE_PX - length) // 2 + np.arange(length)
        middle = (number + 0.5) * SIZE_PX / len(lengths)
        rows = np.rint(middle + 15 * np.sin(columns / 30)).astype(int)
        found.append(Stroke((number + 1) % CLASSES, np.stack([rows, columns], axis=1)))
    return found


def in_the_page(script: Path, folder: Path, drawn: list[Stroke]) -> tuple[float, NDArray[np.uint8]]:
    """Repaint by the page's code; return milliseconds and class values (h, w)."""
    told = [
        {"value": stroke.value, "pixels": (stroke.pixels[:, 0] * SIZE_PX + stroke.pixels[:, 1]).tolist()}
        for stroke in drawn
    ]
    (folder / "strokes").write_text(json.dumps(told))
    done = subprocess.run([NODE, script, folder], capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer["ms"], np.array(answer["classes"], dtype=np.uint8).reshape(SIZE_PX, SIZE_PX)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=5, help="how often each is measured")
    return made


def main() -> None:
    """Measure and print the table."""
    repeats = parser().parse_args().repeats
    bands, proposal = window()
    shown = as_probabilities(proposal, CLASSES)
    rows, ratios = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bands").write_bytes(bands.tobytes())
        (folder / "proposal").write_bytes(proposal.tobytes())
        script = bundle(folder)
        for what, lengths in LENGTHS.items():
            drawn = strokes(lengths)
            pages, servers, differing = [], [], 0
            for _ in range(repeats):
                taken, found = in_the_page(script, folder, drawn)
                pages.append(taken)
                began = time.process_time()
                expected = repaint([bands], shown, drawn)
                servers.append(1000 * (time.process_time() - began))
                differing = int((found != expected).sum())
            page, server = statistics.median(pages), statistics.median(servers)
            ratios.append(page / server)
            rows.append(
                {
                    "strokes": what,
                    "page, ms": round(page),
                    "server, ms": round(server),
                    "ratio": round(page / server, 2),
                    "pixels that differ": differing,
                }
            )
    publish(
        Result(
            "stroke_latency",
            rows,
            baseline="models.strokes.repaint on the same processor",
            ratio=statistics.median(ratios),
            spread=(min(ratios), max(ratios)),
            seeds=[SEED],
            conditions={"size_px": SIZE_PX, "bands": BANDS, "classes": CLASSES, "repeats": repeats},
        )
    )
    print(markdown(rows))


def bundle(folder: Path) -> Path:
    """Bundle the page's code with what calls it, for Node."""
    source = WEB.resolve() / "src" / "map" / "correct"
    driver = folder / "driver.ts"
    driver.write_text(
        DRIVER.format(grid=source / "grid", strokes=source / "strokes", size=SIZE_PX, classes=CLASSES),
        encoding="utf-8",
    )
    script = folder / "driver.mjs"
    arguments = ["--bundle", "--format=esm", "--platform=node", f"--outfile={script}", "--log-level=error"]
    subprocess.run([WEB / "node_modules" / ".bin" / "esbuild", driver, *arguments], check=True)
    return script


if __name__ == "__main__":
    main()

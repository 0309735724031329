"""Runs functions of the pages' TypeScript in Node.js, without a browser."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WEB = Path(__file__).parents[1] / "web"
_PROGRAM = """
import {{ buildSync }} from "esbuild";
import {{ readFileSync }} from "node:fs";
const stdin = {{ contents: {exports}, resolveDir: "src", loader: "ts" }};
const code = buildSync({{ stdin, bundle: true, format: "esm", write: false }}).outputFiles[0].text;
const page = await import("data:text/javascript," + encodeURIComponent(code));
const sent = JSON.parse(readFileSync(0, "utf8"));
const answer = await (async () => {{ {body} }})();
console.log(JSON.stringify(answer));
"""


def run_page_code(exports: str, body: str, sent: object) -> Any:
    """Return what a body in JavaScript returns.

    Args:
        exports: What the name `page` holds in the body, as export statements with paths from `web/src`.
        body: The body of an asynchronous function.
        sent: What the name `sent` holds in the body.
    """
    # The one that `make setup` installs beside Python comes first.
    node = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if node is None or not (WEB / "node_modules").is_dir():
        pytest.skip("no Node.js, or no packages of the pages (npm ci in web/)")
    program = _PROGRAM.format(exports=json.dumps(exports), body=body)
    command = [node, "--input-type=module", "-e", program]
    answer = subprocess.run(command, input=json.dumps(sent), capture_output=True, text=True, cwd=WEB, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)

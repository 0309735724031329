"""How a Label Studio of our own is started.

Label Studio lives in a virtual environment of its own: its pins of rq, redis and numpy clash with ours.
"""

import os
import re
from pathlib import Path

VERSION = "1.23.2"
EXECUTABLE_VARIABLE = "GLACIER_AL_LABEL_STUDIO"

# What Label Studio's log-in form accepts. Its command line accepts more: an administrator made there as
# `a@b.c` owns a token that works and a password that never does.
_LOGIN_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")


def executable() -> Path:
    """Find the ``label-studio`` program.

    Returns:
        The path named by ``GLACIER_AL_LABEL_STUDIO``, else the one that ``make setup`` installs below
        ``${XDG_CACHE_HOME:-~/.cache}/glacier-al``.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    installed = cache / "glacier-al" / f"label-studio-{VERSION}" / "bin" / "label-studio"
    path = Path(os.environ.get(EXECUTABLE_VARIABLE) or installed)
    if not path.is_file():
        raise FileNotFoundError(
            f"No Label Studio at {path}. Run `make setup`, or name the label-studio program "
            f"of an existing installation in {EXECUTABLE_VARIABLE}."
        )
    return path


def start_command(
    executable: Path,
    data_dir: Path,
    *,
    host: str,
    port: int,
    email: str,
    password: str,
    token: str,
) -> tuple[list[str], dict[str, str]]:
    """Compose the command that runs Label Studio, and the environment it needs.

    E-mail, password and token take effect only when the data folder is empty: Label Studio ignores them
    once the administrator exists. The folder's ``.env`` holds the key of all sessions; keep it.

    Args:
        executable: The ``label-studio`` program, see `executable`.
        data_dir: Folder of its database, media and secret key; created if missing.
        host: Address to listen on and to be reached by, e.g. ``127.0.0.1``.
        port: Port to listen on; must be free, for Label Studio silently takes the next one otherwise.
        email: Administrator's address; its domain needs a top level of two letters or more.
        password: Administrator's password, at least 8 characters.
        token: Administrator's API token, at most 40 characters.

    Returns:
        The arguments and the environment variables to add to the present ones.

    Raises:
        ValueError: If the log-in could not be used later.
    """
    _check_login(email, password, token)
    arguments = [str(executable), "start", "--no-browser", "--internal-host", host, "--port", str(port)]
    environment = {
        "BASE_DATA_DIR": str(data_dir),
        "USERNAME": email,
        "PASSWORD": password,
        "USER_TOKEN": token,
        "ENABLE_LEGACY_API_TOKEN": "true",
        "DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "ALLOWED_HOSTS": ",".join(dict.fromkeys([host, "127.0.0.1", "localhost"])),
        # Label Studio also heeds the bare names HOST and DEBUG; these two keep a shell's own from leaking in.
        "HOST": "",
        "DEBUG": "false",
        # No word to the outside: an empty address switches Sentry off.
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        # Our webhook lives on a loopback or private address, which the SSRF guard refuses. Annotators are trusted.
        "SSRF_PROTECTION_ENABLED": "false",
        "ML_BLOCK_LOCAL_IP": "false",  # the same, for the clicks that mend a proposal
    }
    return arguments, {f"LABEL_STUDIO_{name}": value for name, value in environment.items()}


def _check_login(email: str, password: str, token: str) -> None:
    if not _LOGIN_EMAIL.fullmatch(email):
        raise ValueError(
            f"Label Studio's log-in form refuses the address {email!r}; expected something like "
            "admin@glacier.local (a top-level domain of at least two letters)."
        )
    if len(password) < 8:
        raise ValueError(f"The Label Studio password has {len(password)} characters; expected at least 8.")
    if not 1 <= len(token) <= 40 or not token.isalnum():
        raise ValueError("The Label Studio token must have 1 to 40 letters and digits.")

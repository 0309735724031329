"""Check the subjects of the commits since `BASE`: ``python tools/check_commits.py``; exits with 1 if one breaks a rule.

CONTRIBUTING.md, "Commits", has the rules. That a subject is in the imperative is for the reviewer to see.
"""

import subprocess
import sys

BASE = "4986f8fa63a47fefb12310f70c201f1a4c591dce"  # the last commit before the rules were checked
MAX_LENGTH = 72


def faults(subject: str) -> list[str]:
    """Return what is wrong with a subject; an empty list if nothing is."""
    if not subject:
        return ["is empty"]
    found = []
    if len(subject) > MAX_LENGTH:
        found.append(f"has {len(subject)} characters; at most {MAX_LENGTH} are allowed")
    if not subject[0].isupper():
        found.append("does not begin with a capital letter")
    if subject.endswith("."):
        found.append("ends in a full stop")
    return found


def check(base: str) -> int:
    """Print what is wrong with the subjects of the commits after the commit `base`; return how many are wrong.

    A clone without the commit `base` (a shallow one) does not tell which commits are new, so that none is checked.
    """
    if _git("cat-file", "-e", f"{base}^{{commit}}").returncode != 0:
        print(f"Commit subjects are not checked: this clone does not have the commit {base[:12]}.")
        return 0
    log = _git("log", "--encoding=UTF-8", "--format=%h %s", f"{base}..HEAD")
    log.check_returncode()
    commits = [line.partition(" ") for line in log.stdout.splitlines()]
    wrong = 0
    for commit, _, subject in commits:
        if found := faults(subject):
            wrong += 1
            print(f"{commit} {subject!r} {' and '.join(found)}.", file=sys.stderr)
    print(f"Commit subjects: {len(commits)} checked, {wrong} wrong.")
    return wrong


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8", check=False)


if __name__ == "__main__":
    sys.exit(check(BASE) > 0)

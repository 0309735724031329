"""The sequence of faults of a chaos run, which follows from its seed alone."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chaos.fault_proxy import Damage
from chaos.system import LEASE_S, PARTS

WORKERS: Final = tuple(part for part in PARTS if part.startswith("worker-"))
SERVICES: Final = ("mlflow", "label-studio")


class Kind(StrEnum):
    """Kinds of faults."""

    KILL = "kill"  # SIGKILL of a part alone; what it leaves behind is for the supervisor to end
    KILL_TREE = "kill with children"  # SIGKILL of a part and all its descendants, as in a power cut
    KILL_JOB = "kill job"  # SIGKILL of the process of a running job; the worker lives on
    KILL_UP = "kill up"  # SIGKILL of `glacier-al up`, and its restart
    FREEZE = "freeze"  # SIGSTOP of a part and its descendants for longer than a lease, then SIGCONT
    LOSE_REDIS = "lose redis"  # Redis is killed and comes back empty
    RESTART_DATABASE = "restart database"  # PostgreSQL drops all connections and recovers from a crash
    NETWORK = "network"  # some calls to MLflow or Label Studio are damaged for a while
    DISK_FULL = "disk full"
    READ_ONLY = "read-only store"
    MEMORY = "memory limit"  # a worker, and the jobs that it forks, can take no more address space
    CLOCK = "clock"  # the clock of our processes is set, ahead or back, and then right again
    CUT_REDIS = "cut redis"  # all connections to Redis are cut, twice a second for a while
    CUT_DATABASE = "cut database"  # the same of PostgreSQL


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        number: Its place in the sequence, from 1.
        kind: What it is.
        target: The part or service that it is about; empty if there is only one.
        seconds: How long it lasts; 0 for a moment.
        pause_s: Time to the next fault.
        damage: What happens to calls, of a `Kind.NETWORK`.
        share: Share of the calls to which it happens.
        ahead_s: By how much the clock is set ahead, of a `Kind.CLOCK`; negative: back.
    """

    number: int
    kind: Kind
    target: str = ""
    seconds: float = 0.0
    pause_s: float = 0.0
    damage: Damage | None = None
    share: float = 0.0
    ahead_s: int = 0

    def __str__(self) -> str:
        about = [self.target, self.damage and f"{self.damage} of {self.share:.0%} of the calls"]
        about += [f"set by {self.ahead_s:+,} s" if self.ahead_s else ""]
        about += [f"for {self.seconds:.0f} s" if self.seconds else ""]
        return ", ".join([self.kind, *(text for text in about if text)])


# How often each kind is drawn.
_WEIGHTS: Final = {
    Kind.KILL: 5,
    Kind.KILL_TREE: 5,
    Kind.KILL_JOB: 4,
    Kind.KILL_UP: 0.5,
    Kind.FREEZE: 4,
    Kind.LOSE_REDIS: 2,
    Kind.RESTART_DATABASE: 2,
    Kind.NETWORK: 8,
    Kind.DISK_FULL: 2,
    Kind.READ_ONLY: 2,
    Kind.MEMORY: 2,
    Kind.CLOCK: 2,
    Kind.CUT_REDIS: 2,
    Kind.CUT_DATABASE: 2,
}

_TARGETS: Final[Mapping[Kind, Sequence[str]]] = {
    Kind.KILL: PARTS,
    Kind.KILL_TREE: PARTS,
    Kind.FREEZE: PARTS,
    Kind.KILL_JOB: WORKERS,
    Kind.MEMORY: WORKERS,
    Kind.NETWORK: SERVICES,
}
_LASTING: Final = frozenset(Kind) - {
    *(Kind.KILL, Kind.KILL_TREE, Kind.KILL_JOB, Kind.KILL_UP, Kind.LOSE_REDIS, Kind.RESTART_DATABASE)
}
_LARGEST_SHIFT_S: Final = 30 * 86_400  # more than any lease, interval or wait here


def schedule(
    seed: int, count: int, possible: Collection[Kind], gap_s: float, first: Sequence[Kind] = ()
) -> list[Fault]:
    """Return the faults of a run.

    Args:
        seed: The same seed, count, kinds and gap give the same faults.
        count: How many.
        possible: The kinds that can be had on this machine.
        gap_s: Mean time between the end of a fault and the next one.
        first: Kinds of the first faults, in this order; those of the others are drawn.
    """
    rng = random.Random(seed)
    kinds = [kind for kind in Kind if kind in possible]
    drawn = rng.choices(kinds, [_WEIGHTS[kind] for kind in kinds], k=max(0, count - len(first)))
    return [_fault(rng, number, kind, gap_s) for number, kind in enumerate([*first, *drawn][:count], start=1)]


def _fault(rng: random.Random, number: int, kind: Kind, gap_s: float) -> Fault:
    is_network = kind is Kind.NETWORK
    return Fault(
        number,
        kind,
        target=rng.choice(_TARGETS.get(kind, ("",))),
        seconds=rng.uniform(1.2, 2.5) * LEASE_S if kind in _LASTING else 0.0,
        pause_s=min(5 * gap_s, rng.expovariate(1 / gap_s)),
        damage=rng.choice(list(Damage)) if is_network else None,
        share=rng.choice([0.1, 0.3, 1.0]) if is_network else 0.0,
        # By seconds as often as by days, either way.
        ahead_s=rng.choice([-1, 1]) * round(_LARGEST_SHIFT_S ** rng.uniform(0.1, 1.0)) if kind is Kind.CLOCK else 0,
    )

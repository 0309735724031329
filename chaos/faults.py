"""Apply faults to a running system."""

import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import psutil

from catalog.context import Catalog
from chaos.connections import cut_database, cut_for, cut_redis
from chaos.fault_proxy import Call, Damage, FaultProxy
from chaos.folder import Folder
from chaos.ledger import opened
from chaos.schedule import Fault, Kind
from chaos.shifted_clock import ShiftedClock
from chaos.system import System

# Beyond what our clients wait for an answer of MLflow (10 s). Label Studio is given 30 s: there it is a slow network.
LATE_S: Final = 12.0
_MEMORY_LEFT: Final = 16 * 2**20  # bytes that a process may still take


class Saboteur:
    """Applies faults to a system.

    Args:
        system: The system.
        proxy: The proxy that its calls go through.
        folder: Its data folder.
        seed: Decides which calls are damaged while the network is bad.
        database_port: Port of its PostgreSQL; None if it uses SQLite.
        clock: The clock of our processes; None if it cannot be set.
    """

    def __init__(
        self,
        system: System,
        proxy: FaultProxy,
        folder: Folder,
        seed: int,
        database_port: int | None = None,
        clock: ShiftedClock | None = None,
    ) -> None:
        self._system = system
        self._proxy = proxy
        self._folder = folder
        self._seed = seed
        self._database_port = database_port
        self._clock = clock
        self._by_kind: Mapping[Kind, Callable[[Fault], bool]] = {
            Kind.KILL: self._kill,
            Kind.KILL_TREE: self._kill,
            Kind.KILL_JOB: self._kill,
            Kind.KILL_UP: self._kill_up,
            Kind.LOSE_REDIS: self._lose_redis,
            Kind.RESTART_DATABASE: self._restart_database,
            Kind.NETWORK: self._damage_calls,
            Kind.CUT_REDIS: partial(self._cut, cut_redis),
            Kind.CUT_DATABASE: partial(self._cut, cut_database),
        }

    @property
    def possible(self) -> list[Kind]:
        """The kinds of faults that can be had here."""
        impossible = {
            Kind.RESTART_DATABASE: self._database_port is None,
            Kind.CUT_DATABASE: self._database_port is None,
            Kind.DISK_FULL: not self._folder.is_mounted,
            Kind.CLOCK: self._clock is None,
        }
        return [kind for kind in Kind if not impossible.get(kind, False)]

    def apply(self, fault: Fault) -> bool:
        """Apply a fault, and wait until it is over; return whether it found what it is about."""
        return self._by_kind.get(fault.kind, self._last)(fault)

    def _kill(self, fault: Fault) -> bool:
        tree = self._system.tree(fault.target)
        victims = {Kind.KILL: tree[:1], Kind.KILL_TREE: tree, Kind.KILL_JOB: tree[1:]}[fault.kind]
        return _signal(victims, signal.SIGKILL)

    def _kill_up(self, _: Fault) -> bool:
        os.kill(self._system.up_pid, signal.SIGKILL)
        self._system.restart_killed()
        return True

    def _lose_redis(self, _: Fault) -> bool:
        redis = self._system.tree("redis")
        for file in (self._system.var_dir / "redis").rglob("*.aof"):
            file.unlink()
        return _signal(redis, signal.SIGKILL)

    def _restart_database(self, _: Fault) -> bool:
        return _signal(self._backends()[:1], signal.SIGKILL)

    def _last(self, fault: Fault) -> bool:
        with self._during(fault) as found:
            time.sleep(fault.seconds)
        return found

    @contextmanager
    def _during(self, fault: Fault) -> Iterator[bool]:
        """Apply a fault during the block; yields whether it found what it is about."""
        with ExitStack() as stack:
            found = True
            if fault.kind is Kind.DISK_FULL:
                found = stack.enter_context(self._folder.full())
            elif fault.kind is Kind.READ_ONLY:
                store = self._system.var_dir / "store"
                store.mkdir(exist_ok=True)
                found = stack.enter_context(self._folder.read_only(store))
            elif fault.kind is Kind.CLOCK and self._clock is not None:
                stack.callback(self._clock.set_ahead, 0)
                self._clock.set_ahead(fault.ahead_s)
            else:
                tree = self._system.tree(fault.target)
                found = bool(tree)
                stack.enter_context(_little_memory(tree) if fault.kind is Kind.MEMORY else _frozen(tree))
            yield found

    def _damage_calls(self, fault: Fault) -> bool:
        """Damage calls to a service for a while; return whether there was one to damage."""
        settings = self._system.settings
        url = settings.mlflow_url if fault.target == "mlflow" else settings.label_studio_url
        before = len(self._proxy.calls)
        self._proxy.choose = _damage_some(fault, urlsplit(url).netloc, self._seed)
        try:
            time.sleep(fault.seconds)
        finally:
            self._proxy.choose = lambda _: None
        return any(damage is not None for _, damage in self._proxy.calls[before:])

    def _cut(self, cut: Callable[[Catalog], int], fault: Fault) -> bool:
        with opened(self._system) as catalog:
            return cut_for(fault.seconds, cut, catalog) > 0

    def _backends(self) -> Sequence[psutil.Process]:
        """Return the processes of PostgreSQL that serve a connection each."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                ports = {item.laddr.port for item in process.net_connections("tcp") if item.status == "LISTEN"}
                if self._database_port in ports:
                    return [child for child in process.children() if "127.0.0.1" in " ".join(child.cmdline())]
        return []


def _damage_some(fault: Fault, address: str, seed: int) -> Callable[[Call], Damage | None]:
    """Return the choice of the calls to an address that a fault of the network damages."""
    rng = random.Random(f"{seed}-{fault.number}")

    def choose(call: Call) -> Damage | None:
        if urlsplit(call.url).netloc != address or rng.random() >= fault.share:
            return None
        return fault.damage

    return choose


def _signal(processes: Sequence[psutil.Process], number: int) -> bool:
    """Send a signal to processes; return whether there was one."""
    reached = False
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
            reached = True
    return reached


@contextmanager
def _frozen(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Stop processes during the block."""
    _signal(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(processes, signal.SIGCONT)


@contextmanager
def _little_memory(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Limit the address space of processes, and of those that they fork, during the block."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.rlimit(psutil.RLIMIT_AS, (process.memory_info().vms + _MEMORY_LEFT, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.rlimit(psutil.RLIMIT_AS, unlimited)

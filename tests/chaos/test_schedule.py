"""The sequence of faults follows from the seed."""

from collections import Counter

from chaos.schedule import Kind, schedule
from chaos.system import LEASE_S


def test_a_seed_gives_the_same_faults_again() -> None:
    assert schedule(7, 40, list(Kind), 4.0) == schedule(7, 40, list(Kind), 4.0)
    assert schedule(7, 40, list(Kind), 4.0) != schedule(8, 40, list(Kind), 4.0)


def test_faults_are_numbered_and_only_possible_ones_are_drawn() -> None:
    faults = schedule(0, 500, [kind for kind in Kind if kind is not Kind.DISK_FULL], 4.0)
    assert [fault.number for fault in faults] == list(range(1, 501))
    counts = Counter(fault.kind for fault in faults)
    assert set(counts) == set(Kind) - {Kind.DISK_FULL}


def test_the_first_faults_are_of_the_kinds_that_are_asked_for() -> None:
    first = [Kind.KILL_TREE, Kind.FREEZE, Kind.FREEZE]
    faults = schedule(7, 40, [Kind.NETWORK], 4.0, first)
    assert [fault.kind for fault in faults] == [*first, *[Kind.NETWORK] * 37]
    assert [fault.kind for fault in schedule(7, 2, [Kind.NETWORK], 4.0, first)] == first[:2]
    assert schedule(7, 40, list(Kind), 4.0, []) == schedule(7, 40, list(Kind), 4.0)


def test_what_freezes_outlasts_a_lease() -> None:
    frozen = [fault for fault in schedule(0, 300, list(Kind), 4.0) if fault.kind is Kind.FREEZE]
    assert frozen and all(fault.seconds > LEASE_S for fault in frozen)


def test_a_fault_says_what_it_is() -> None:
    network = next(fault for fault in schedule(0, 50, [Kind.NETWORK], 4.0) if fault.share == 0.1)
    assert (
        str(network) == f"network, {network.target}, {network.damage} of 10% of the calls, for {network.seconds:.0f} s"
    )

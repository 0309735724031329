"""A fault of the network counts only if a call was damaged."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from chaos import faults
from chaos.fault_proxy import Damage, fault_proxy
from chaos.folder import Folder
from chaos.schedule import Fault, Kind

MLFLOW, LABEL_STUDIO = "http://127.0.0.1:5000", "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("called", "share", "found"),
    [([MLFLOW], 1.0, True), ([MLFLOW], 0.0, False), ([LABEL_STUDIO], 1.0, False), ([], 1.0, False)],
)
def test_a_bad_network_tells_whether_it_damaged_a_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, called: list[str], share: float, found: bool
) -> None:
    system = SimpleNamespace(settings=SimpleNamespace(mlflow_url=MLFLOW, label_studio_url=LABEL_STUDIO))
    with fault_proxy(lambda _: Damage.DOUBLE) as proxy:
        proxy.note("GET", MLFLOW)  # damaged before, for another reason
        calls = SimpleNamespace(sleep=lambda _: [proxy.note("GET", f"{url}/api") for url in called])
        monkeypatch.setattr(faults, "time", calls)
        saboteur = faults.Saboteur(system, proxy, Folder(tmp_path, is_mounted=False), seed=1)
        fault = Fault(1, Kind.NETWORK, "mlflow", seconds=9.0, damage=Damage.CUT_ANSWER, share=share)
        assert saboteur.apply(fault) is found
        assert proxy.note("GET", MLFLOW) is None

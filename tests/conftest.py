import os

# As in workers.main.prepare_threads, and for the same reason: before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from hypothesis import settings

pytest_plugins = ["tests.real_services", "tests.catalog_fixtures"]

# The same examples in every run; and no deadline, for the machine may be busy.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

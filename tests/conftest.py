from hypothesis import settings

pytest_plugins = ["tests.services"]

# The same examples in every run; and no deadline, for the machine may be busy.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

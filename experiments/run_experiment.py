"""Job: make a simulation or an experiment; the only job whose function is above the room `workers`."""

from workers.jobs import JobContext


def run_experiment(context: JobContext, uid: str) -> None:
    """Do what `experiments.experiment_job.carry_out` does; arguments and errors are the same."""
    # Imported here: every worker of "compute" imports this module at its start, and would hold scikit-learn and the
    # libraries of figures in memory from then on.
    from experiments.experiment_job import carry_out

    carry_out(context, uid)

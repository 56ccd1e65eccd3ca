"""
A sweep over everything that may go wrong in one place: ``python -m tests.sweep``.

For one job and for a batch, one try has one fault: SIGKILL before the k-th line of the package, the n-th call of
Airflow's state store or the n-th operation on the destination and the ledger failing, or a pause in which the next try
takes over. Then the world is well again: automatic retries, and clears by a human, until the task succeeds. A vendor in
a process of its own counts what was charged for which image.
"""

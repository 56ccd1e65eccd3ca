"""A real Airflow on the loopback, and the program behind `make demo`.

Nothing here is part of the provider: it is the stage on which the provider is shown, killed, measured and photographed.
Every server listens on 127.0.0.1, every wait is bounded, and whatever was started is ended by its id.
"""

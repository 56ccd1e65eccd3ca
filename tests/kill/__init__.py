"""A real Airflow whose processes are killed at the worst moments, while the vendor counts what would be paid for."""

"""Apache Airflow provider for ImagePipeline.io."""

__version__ = "0.1.0"

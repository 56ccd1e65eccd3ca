# Licensed under the Apache License, Version 2.0; see the file LICENSE.
"""Apache Airflow provider for ImagePipeline.io."""

__version__ = "0.1.0"

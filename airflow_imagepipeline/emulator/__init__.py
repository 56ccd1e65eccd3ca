# Licensed under the Apache License, Version 2.0; see the file LICENSE.
"""The API of ImagePipeline.io on the loopback, for tests and for trying DAGs without an account.

A real HTTP server that really edits the image, with Pillow. It is written from the API's documentation and shares no
code with the provider, so that the two can disagree. It follows the documented behaviour of a service in good health:
it breaks no connections, loses no answers and knows no rate limits, and its pictures are filters, not those of a model.
"""

from .server import Emulator

__all__ = ["Emulator"]

"""The API of ImagePipeline.io on the loopback, for tests and for trying DAGs without an account.

A real HTTP server that really edits the image, with Pillow. It is written from the API's documentation and shares no
code with the provider, so that the two can disagree. It speaks two generations side by side, with one key: SDXL
image-to-image (``sdxl``) and the current edit endpoint with upload and account (``edit_image``). It follows the
documented behaviour of a service in good health, and fails or refuses jobs only when its ``settings`` say so: it breaks
no connections, loses no answers and sends no webhooks, and its pictures are filters, not those of a model.
"""

from .server import Emulator
from .settings import Settings

__all__ = ["Emulator", "Settings"]

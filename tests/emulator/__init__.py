# Licensed under the Apache License, Version 2.0; see the file LICENSE.
"""The emulated service, asked over real HTTP."""

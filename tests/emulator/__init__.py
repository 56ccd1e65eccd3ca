"""The emulated service, asked over real HTTP."""

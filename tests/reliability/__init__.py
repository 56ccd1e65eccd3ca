"""Every fault of the fault table, injected for real; and the proof that no image is paid for twice."""

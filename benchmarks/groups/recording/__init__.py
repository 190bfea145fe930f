"""The group ``recording``: what it costs to record a run's iterates, beside loops of peers."""

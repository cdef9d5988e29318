"""For all rooms."""

from hypothesis import settings

# How long one example takes says how busy the machine is; no test here is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

"""Settings of the whole suite."""

from __future__ import annotations

from hypothesis import settings

# A loaded machine is slow, not wrong: examples are bounded in number, not in time.
settings.register_profile("suite", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=5000, print_blob=True)
settings.load_profile("suite")

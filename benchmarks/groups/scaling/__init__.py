"""The group ``scaling``: our time a step against one size at a time, and the peak of memory."""

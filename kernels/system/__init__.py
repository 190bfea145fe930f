"""The one place that knows operating systems: Linux, macOS and Windows.

A file a topic. Every function has an answer on each of the three, and a cautious one where a system
tells nothing. The rest of the package asks here and names no system, which a test checks.
"""

"""The live page for teaching, "Depth as an accelerator": static files, a server, an export.

The page lies in ``page/``. ``engine.js`` there makes the same iterates as the reference backend.
"""

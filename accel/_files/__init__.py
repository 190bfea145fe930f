"""Files that are not trusted: paths, NumPy's formats, archives with a checksum, downloads."""

"""Files that users or networks provide, checked as they are read; files written whole."""

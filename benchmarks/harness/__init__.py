"""What all groups share: cases, timing, records, tables, pages, and the comparison of two runs."""

"""Parts of reports: text, CSV files, figures, facts about the machine."""

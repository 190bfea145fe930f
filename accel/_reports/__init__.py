"""What reports are made of: text, figures, facts about the machine."""

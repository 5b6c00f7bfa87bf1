"""What the assistant keeps: notes, facts about its user, skills and the sessions of its conversations."""

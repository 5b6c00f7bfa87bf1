"""What happens when a mind is asked: the prompt it gets and the turn that follows."""

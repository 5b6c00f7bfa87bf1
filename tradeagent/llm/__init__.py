"""Models and the turn loop: the words between them (`contract`), the loop, LiteLLM behind `gateway`, rule-based models in `offline`."""

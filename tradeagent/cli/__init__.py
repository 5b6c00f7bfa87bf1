"""The front door for scripts. The only room that prints; commands import what they need when they run."""

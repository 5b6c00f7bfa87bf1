"""The front door for a person: a Textual client that reads the ledger, tails transcripts and writes commands, nothing else."""

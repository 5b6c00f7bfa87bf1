"""The durable record: what was decided, sent, filled and paid. Plain functions over one short transaction each."""

"""The door: the only room that imports brokers, and the only way an order leaves."""

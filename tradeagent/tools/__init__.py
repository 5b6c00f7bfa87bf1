"""What a model may call: a registry of tools, one module per family. Nothing here trades; trading tools go to the door."""

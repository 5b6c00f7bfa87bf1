"""One protocol, and the brokers behind it. Only the execution room imports this one."""

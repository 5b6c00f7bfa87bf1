"""The venue's own protocol: reads of its info endpoint (`client`), a stand-in for it on this machine (`loopback`), and its account answers,
read (`wire`) and computed anew (`evaluation`)."""

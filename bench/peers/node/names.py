# Loaded by mitmdump: every name below .test is this machine.
import socket

lookup = socket.getaddrinfo


def here(host, port, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else host
    return lookup("127.0.0.1" if name and name.endswith(".test") else host, port, *rest, **named)


socket.getaddrinfo = here

# everywhere.py tcp:PORT udp:PORT unix:NAME icmp: takes what comes to any address of where it runs, or to an abstract socket, says each
# on a line, and answers.

import selectors
import socket
import sys

ANYWHERE = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
ADDRESS = socket.inet_aton("198.51.100.7")
wait = selectors.DefaultSelector()


def say(*words):
    print(*words, flush=True)


def tcp(listener, port):
    connection, _ = listener.accept()
    say("tcp" if isinstance(port, int) else "unix", port)
    connection.settimeout(2)
    try:
        connection.recv(2048)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\ntaken\n")
    except OSError:
        pass
    connection.close()


def udp(taken, port):
    octets, sender = taken.recvfrom(2048)
    say("udp", port)
    # To a question of DNS its own question and one address.
    record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + ADDRESS
    question = octets[12 : octets.find(b"\0", 12) + 5]
    answer = octets[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question + record
    taken.sendto(answer if port == 53 else b"taken\n", sender)


def icmp(taken, _):
    octets = taken.recv(2048)
    if octets[20] == 8:
        say("icmp")


for kind, _, port in (each.partition(":") for each in sys.argv[1:]):
    if kind == "unix":
        one = socket.socket(socket.AF_UNIX)
        one.bind("\0" + port)
        one.listen(16)
        wait.register(one, selectors.EVENT_READ, (tcp, port))
        continue
    port = int(port or 0)
    if kind == "icmp":
        wait.register(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP), selectors.EVENT_READ, (icmp, 0))
        continue
    for family, address in ANYWHERE.items():
        one = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, port))
        if kind == "tcp":
            one.listen(16)
        wait.register(one, selectors.EVENT_READ, (tcp if kind == "tcp" else udp, port))
say("ready")
while True:
    for key, _ in wait.select():
        take, port = key.data
        take(key.fileobj, port)

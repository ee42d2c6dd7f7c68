"""Somebody else behind a NAT: begins flows at random moments, N a second.

flows.py N ADDRESS   UDP to ADDRESS, a datagram of one byte each
"""
import random
import socket
import sys
import time


def main():
    rate, address = float(sys.argv[1]), sys.argv[2]
    due = time.monotonic()
    while True:
        due += random.expovariate(rate)
        time.sleep(max(0, due - time.monotonic()))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b".", (address, 40000))


main()

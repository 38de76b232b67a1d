"""Helpers for the end-to-end tests, the demo and the bench: real servers on loopback addresses, and a judge.

Standard library only. Everything that is started belongs to a Work: its directory keeps configuration, data and logs,
and every child ends with it, by its pid, also when the program that made it fails or is killed.
"""

from .proc import Failed, Missing, Unavailable, Work, wait_until
from .net import Addresses, dns_query, free_port, port_open
from .jsonl import Follower, read_jsonl
from .servers import Dns, Rbldnsd, Receivers, Resolver, SmtpSink, find_receivers
from .peers import Postfix, Postgres
from .dkim import Key, sign

__all__ = ["Addresses", "Dns", "Failed", "Follower", "Key", "Missing", "Postfix", "Postgres", "Rbldnsd", "Receivers", "Resolver",
           "SmtpSink", "Unavailable", "Work", "dns_query", "find_receivers", "free_port", "port_open", "read_jsonl", "sign",
           "wait_until"]

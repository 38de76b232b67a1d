"""A list as people have it: three quarters of the recipients at big providers, a fifth in a long tail of small domains, most of which
have their mail hosted somewhere. Domains of the tail are below names that a wildcard of ours answers for."""

import os
import subprocess

from mail import SENDER

# (MX host, domains with their shares in per cent)
BIG = [("gmail-smtp-in.l.google.com", {"gmail.com": 34, "googlemail.com": 1}),
       ("mx.olc.protection.outlook.com", {"hotmail.com": 7, "outlook.com": 4, "live.com": 1.5, "msn.com": 0.5}),
       ("mta5.am0.yahoodns.net", {"yahoo.com": 9, "aol.com": 2.5, "ymail.com": 0.5}),
       ("mx01.mail.icloud.com", {"icloud.com": 4, "me.com": 0.6}),
       ("mx00.gmx.net", {"gmx.net": 2.5, "web.de": 2.5}),
       ("smtp-in.orange.fr", {"orange.fr": 2, "wanadoo.fr": 0.4}),
       ("mx1.comcast.net", {"comcast.net": 1.5}),
       ("mx3.qq.com", {"qq.com": 1}),
       ("smtp4.laposte.net", {"laposte.net": 0.5}),
       ("163mx01.mxmail.netease.com", {"163.com": 0.5}),
       ("cxr.mx.a.cox.net", {"cox.net": 0.3}),
       ("mx1.charter.net", {"charter.net": 0.3})]
REGIONAL, REGIONAL_SHARE = 200, 4  # providers of a town or a country, an MX of their own each
# The rest is the tail: (parts of a hundred of its domains, zone of the wildcard, MX host; None: their own host, by its address alone)
TAIL = [(30, "work.test", "aspmx.l.google.com"), (30, "office.test", "tail.mail.protection.outlook.com"),
        (5, "shop.test", "smtp.secureserver.net"), (5, "firm.test", "mxa.pphosted.com"), (3, "law.test", "eu.mimecast.com"),
        (27, "self.test", None)]
PLACES = 10_000  # as many lines as people_list.c wants


def world():
    """(foreign {domain: [MX]}, hosts, wildcards [(zone, MX host or None)])"""
    foreign = {d: [mx] for mx, domains in BIG for d in domains}
    foreign |= {f"isp{i}.example": [f"mx.isp{i}.example"] for i in range(REGIONAL)}
    hosts = {mx for mx, _ in BIG} | {f"mx.isp{i}.example" for i in range(REGIONAL)} | {mx for _, _, mx in TAIL if mx}
    return foreign, sorted(hosts), [(zone, mx) for _, zone, mx in TAIL]


def places():
    """What people_list reads: a share is a number of lines."""
    v = [d for _, domains in BIG for d, share in domains.items() for _ in range(round(share * PLACES / 100))]
    v += [f"isp{i % REGIONAL}.example" for i in range(REGIONAL_SHARE * PLACES // 100)]
    return "\n".join(v + [""] * (PLACES - len(v)) + [zone for parts, zone, _ in TAIL for _ in range(parts)]) + "\n"


def write_csv(build, path, first, count):
    """Recipients first .. first + count - 1, in no order."""
    with open(path + ".places", "w") as f:
        f.write(places())
    with open(path, "wb") as f:
        subprocess.run([os.path.join(build, "bench/bin/people_list"), path + ".places", str(first), str(count)], stdout=f, check=True)
    os.unlink(path + ".places")


def template():
    return (f'From: "The News" <news@{SENDER}>\nTo: "{{{{name}}}}" <{{{{email}}}}>\nSubject: News for {{{{name}}}} of {{{{city}}}}\n'
            "MIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n\n"
            "Dear {{name}},\n\nyour order {{order}} has brought you {{points}} points: {{link}}\n")

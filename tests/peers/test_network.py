"""The network under a node: what comes from excluded ones is not heard, and one that goes or comes up ends
the node with 1."""

import pytest
import rtps
from networks import ANY_NETWORK, Host, domain, heard, wait_heard
from waiting import until

DEFAULT_ROUTE = "ip route add default via 10.88.0.2"


@pytest.fixture
def hosts():
    """A host with two networks, and another that has both as well."""
    made = Host(), Host()
    yield made
    for host in made:
        host.close()


def speak(at, node_address: str, port: int, prefix: bytes):
    """Says, to the node's port, that here is a participant."""
    address = at.getsockname()
    at.sendto(rtps.participant(prefix + bytes(9), 100, address), (node_address, port))


# environment, parameter, which of the two networks is heard
EXCLUDED = [
    ({"ROS_LOCALHOST_ONLY": "1"}, (), ()),
    ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, (), ()),
    ({}, ("network_interface:='10.88.0.1'",), (0,)),
    ({}, ("network_interface:='10.89.0.1'",), (1,)),
    ({}, (), (0, 1)),
]


@pytest.mark.parametrize(("environment", "params", "expected"), EXCLUDED, ids=str)
def test_only_networks_that_are_not_excluded_are_heard(hosts, environment, params, expected):
    own, other = hosts
    own.link(other, "one", "10.88.0.1", "10.88.0.2")
    own.link(other, "two", "10.89.0.1", "10.89.0.2")
    own.do(DEFAULT_ROUTE)
    with own.node(remaps=(), params=params, env=ANY_NETWORK | environment) as node:
        port = rtps.Ports(node.pid, domain()).discovery
        strangers = [(other.socket("10.88.0.2"), "10.88.0.1"), (other.socket("10.89.0.2"), "10.89.0.1")]
        for n, (stranger, address) in enumerate(strangers):
            # From the network to its own address, and to the other one of the host.
            speak(stranger, address, port, b"\1\x0f" + bytes([n]))
        local = own.socket("127.0.0.1")
        speak(local, "127.0.0.1", port, b"\1\x0f\7")
        # Whoever has spoken before it has been answered before it.
        wait_heard(local, node.tail)
        for n in expected:
            wait_heard(strangers[n][0], node.tail)
        wait_heard(local, node.tail)
        assert [n for n, (stranger, _) in enumerate(strangers) if n not in expected and heard(stranger)] == []
        assert node.stop() == 0, node.tail()


def ends(node, text: str):
    """The node ends with 1 and says why, once."""
    until(lambda: not node.alive(), "the end of the node", log=node.tail)
    assert node.ended() == 1, node.tail()
    errors = [line for line in node.output.lines if "[ERROR]" in line]
    assert len(errors) == 1 and text in errors[0], errors


def test_a_node_that_started_before_the_network_ends_when_it_comes(hosts):
    own, other = hosts
    with own.node(remaps=(), env=ANY_NETWORK) as node:
        own.link(other, "one", "10.88.0.1", "10.88.0.2")
        own.do(DEFAULT_ROUTE)
        ends(node, "the network has come up")


CHANGES = {
    "another address": "ip address add 10.88.0.7/24 dev one; ip address del 10.88.0.1/24 dev one",
    "no interface": "ip link delete one",
}


@pytest.mark.parametrize("params", [(), ("network_interface:='10.88.0.1'",)], ids=["auto", "configured"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_node_whose_address_goes_ends(hosts, params, change):
    own, other = hosts
    own.link(other, "one", "10.88.0.1", "10.88.0.2")
    own.do(DEFAULT_ROUTE)
    with own.node(remaps=(), params=params, env=ANY_NETWORK) as node:
        own.do(CHANGES[change])
        ends(node, "the network has changed: 10.88.0.1")


def test_networks_that_come_and_go_beside_it_are_nothing_to_a_node(hosts):
    own, other = hosts
    own.link(other, "one", "10.88.0.1", "10.88.0.2")
    own.do(DEFAULT_ROUTE)
    with own.node(remaps=(), env=ANY_NETWORK) as node:
        own.link(other, "two", "10.89.0.1", "10.89.0.2")
        own.do("ip route replace default via 10.89.0.2")
        node.report()
        own.do("ip link delete two")
        # Several looks of the watchdog's.
        until(lambda: len(node.stats()) > 30, "reports", log=node.tail)
        assert node.alive(), node.tail()
        assert node.stop() == 0, node.tail()


def test_hosts_that_are_named_are_announced_to(hosts):
    own, other = hosts
    own.link(other, "one", "10.88.0.1", "10.88.0.2")
    own.do(DEFAULT_ROUTE)
    # What is for everybody does not come here: the sockets are bound to the address of their host.
    first, last = (
        other.socket("10.88.0.2", rtps.discovery_port(domain(), participant)) for participant in (0, 31)
    )
    with own.node(remaps=(), env=ANY_NETWORK) as node:
        node.report()
        assert heard(first) == heard(last) == 0
    with own.node(remaps=(), env=ANY_NETWORK | {"ROS_STATIC_PEERS": "10.88.0.9;10.88.0.2"}) as node:
        for at in (first, last):
            assert until(lambda: at_once(at), "an announcement", log=node.tail).startswith(b"RTPS")
        assert node.stop() == 0, node.tail()


def at_once(at) -> bytes | None:
    """A datagram that is there."""
    try:
        return at.recv(1 << 16)
    except BlockingIOError:
        return None


MATCHING = {"RUST_LOG": "rustdds::rtps::dp_event_loop=info,rustdds::rtps::reader=info"}


def goodbye(prefix: bytes, by: bytes, n: int) -> bytes:
    """That a participant is gone, as the nth message of `by`."""
    who = prefix + rtps.PARTICIPANT
    payload = rtps.PL_CDR_LE + rtps.parameter(0x50, who) + rtps.SENTINEL
    inline_qos = rtps.parameter(0x70, who) + rtps.parameter(0x71, b"\0\0\0\3") + rtps.SENTINEL
    return rtps.packet(
        by, rtps.data(rtps.UNKNOWN, rtps.SPDP_WRITER, n, payload, flags=0xB, inline_qos=inline_qos)
    )


def test_a_participant_that_was_silent_for_long_is_met_again(hosts):
    # Its process was stopped for longer than its lease: it announces itself as before.
    own, _ = hosts
    with own.node(remaps=(), env=ANY_NETWORK | MATCHING | {"ROS_LOCALHOST_ONLY": "1"}) as node:
        node_at = ("127.0.0.1", rtps.Ports(node.pid, domain()).discovery)
        at = own.socket("127.0.0.1")
        announcement = rtps.participant(b"\1\x0f" + bytes([7]) * 10, 1, at.getsockname())
        for _ in range(2):
            n_lines = len(node.output.lines)
            at.sendto(announcement, node_at)
            assert node.wait_for_line("Matched new remote writer.*010f0707", start=n_lines), node.tail()
            assert node.wait_for_line("participant_lost.*010f0707", start=n_lines), node.tail()
        assert node.stop() == 0, node.tail()


def test_nobody_says_goodbye_for_another(hosts):
    own, _ = hosts
    with own.node(remaps=(), env=ANY_NETWORK | MATCHING | {"ROS_LOCALHOST_ONLY": "1"}) as node:
        node_at = ("127.0.0.1", rtps.Ports(node.pid, domain()).discovery)
        at = own.socket("127.0.0.1")
        one, other = (b"\1\x0f" + bytes([n]) * 10 for n in (7, 8))
        for prefix, pattern in ((one, "010f0707"), (other, "010f0808")):
            at.sendto(rtps.participant(prefix, 3600, at.getsockname()), node_at)
            assert node.wait_for_line(f"Matched new remote writer.*{pattern}"), node.tail()
        at.sendto(goodbye(one, by=other, n=2), node_at)
        at.sendto(goodbye(other, by=other, n=3), node_at)
        assert node.wait_for_line("participant_lost.*010f0808"), node.tail()
        assert not [line for line in node.output.lines if "participant_lost" in line and "010f0707" in line]
        assert node.stop() == 0, node.tail()

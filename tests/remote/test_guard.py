from __future__ import annotations

import pytest

from sqlalchemy_imageattach.remote.guard import is_public, public_addresses

# fmt: off
INSIDE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1",
    "192.0.0.8", "192.0.0.170", "192.0.0.255", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1",
    "::127.0.0.1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1",
    "2001:db8::1", "2001:10::1", "2001:0:a00:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:0a00:0001::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "ff0e::1", "3fff::1",
    "5f00::1", "4000::1", "2620:0:2d0:200:0:5efe:10.0.0.1", "2a00:1450:4001:80b:200:5efe:c0a8:101",
]
# fmt: on

# fmt: off
OUTSIDE = [
    "1.1.1.1", "93.184.216.34", "172.32.0.1", "192.169.0.1", "223.255.255.255", "11.0.0.1", "169.253.1.1",
    "128.0.0.1", "::ffff:93.184.216.34", "64:ff9b::93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946",
    "2a00:1450:4001:80b::200e", "2002:5db8:d822::1",
]
# fmt: on


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_is_not_on_the_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_on_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", ["", "localhost", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "1.1.1.1:80"])
def test_what_is_no_address_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_a_name_that_is_inside_and_outside_has_no_public_address() -> None:
    assert public_addresses(["1.1.1.1", "8.8.8.8"]) == ["1.1.1.1", "8.8.8.8"]
    assert public_addresses(["1.1.1.1", "127.0.0.1"]) == []
    assert public_addresses([]) == []

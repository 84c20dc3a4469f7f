from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import network
from pooler.errors import PoolerError


@given(number=st.integers(0, 2**32 - 1), prefix=st.integers(16, 24), count=st.integers(2, 16))
def test_subnets_lie_in_their_block_and_never_overlap(number: int, prefix: int, count: int) -> None:
    block = ipaddress.IPv4Network((number, prefix), strict=False)
    subnets = [ipaddress.IPv4Network(network.subnet(str(block), each)) for each in range(count)]
    assert all(each.subnet_of(block) for each in subnets)
    assert not any(one.overlaps(two) for place, one in enumerate(subnets) for two in subnets[:place])
    assert all(16 <= each.prefixlen <= 28 for each in subnets)


@pytest.mark.parametrize(
    ("block", "number", "expected"),
    [
        ("10.0.0.0/16", 9, "10.0.9.0/24"),
        ("10.0.0.0/24", 15, "10.0.0.240/28"),
        ("2600:1f16:d83::/56", 8, "2600:1f16:d83:8::/64"),
    ],
)
def test_the_subnet_with_a_number(block: str, number: int, expected: str) -> None:
    assert network.subnet(block, number) == expected


def test_a_block_without_that_many_subnets_is_refused_with_its_count() -> None:
    with pytest.raises(PoolerError, match=r"10\.0\.0\.0/25 has 8 subnets of /28, and no number 8"):
        network.subnet("10.0.0.0/25", 8)


def test_what_is_no_block_is_refused() -> None:
    with pytest.raises(PoolerError, match="host bits set"):
        network.subnet("10.0.0.1/16", 0)

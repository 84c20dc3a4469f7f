"""Networks within a network."""

from __future__ import annotations

import ipaddress

from .errors import PoolerError

# EC2 has no smaller subnets in IPv4 and no others in IPv6.
_SMALLEST = {4: 28, 6: 64}


def subnet(block: str, number: int) -> str:
    """The `number`-th subnet of a VPC's block: one of 256, or of as many as EC2's smallest subnets make.

    Raises PoolerError when the block is none or has no such subnet.
    """
    try:
        network = ipaddress.ip_network(block)
    except ValueError as error:
        raise PoolerError(f"{error} (a network such as 10.0.0.0/16)") from None
    prefix = min(network.prefixlen + 8, _SMALLEST[network.version])
    count = 2 ** (prefix - network.prefixlen) if prefix > network.prefixlen else 1
    if not 0 <= number < count:
        raise PoolerError(f"{block} has {count} subnets of /{prefix}, and no number {number} (take a wider block)")
    return f"{network.network_address + number * 2 ** (network.max_prefixlen - prefix)}/{prefix}"

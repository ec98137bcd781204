"""How a server listens, what it admits, and what it writes down."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from chatwright.config import at_least, option
from chatwright.errors import UserError
from chatwright.serving.engines.contract import EngineOptions


@dataclass(frozen=True)
class ServerOptions(EngineOptions):
    """The address, the key and the limits."""

    port: int = option(8000, "where to listen; 0: a free one")
    host: str = option(
        "127.0.0.1", "the address to listen at; 0.0.0.0: all of this machine's, for others too"
    )
    api_key: str | None = option(
        None,
        "what every request but /health must bring; none: the environment's CHATWRIGHT_API_KEY, or no key",
    )
    cors: tuple[str, ...] = option((), "sites whose pages may ask this server, as https://example.org")
    max_body: float = option(4.0, "megabytes that a request's body may have; more is refused with 413")
    max_tokens: int | None = option(
        None, "tokens that a reply may have; none: what the model's context leaves"
    )
    timeout: float = option(600.0, "seconds that a request may take; then it ends with 504")
    read_timeout: float = option(30.0, "seconds within which a request's body must arrive; else 408")
    keep_alive: float = option(10.0, "seconds of silence after which a stream sends a comment")
    drain: float = option(30.0, "seconds that running requests get to end when the server is stopped")
    log_text: bool = option(False, "whether the log holds what users and models say")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.port < 65536:
            raise UserError(f"port={self.port} must be from 0 to 65535")
        if self.api_key is not None and not (
            self.api_key and self.api_key.isprintable() and self.api_key.isascii()
        ):
            raise UserError("api_key must be one or more printable ASCII characters")
        for name in ("max_body", "timeout", "read_timeout", "keep_alive"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name}={getattr(self, name):g} must be more than 0")
        if self.drain < 0:
            raise UserError(f"drain={self.drain:g} must be 0 or more")
        at_least(self, 1, "max_tokens")
        if "*" in self.cors and self.api_key is None:
            raise UserError("cors=* lets every site use this server; set an api_key, or name the sites")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a name or an address, without its port, is this machine's own."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

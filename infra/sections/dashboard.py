"""What can be set of the operations pages."""

from __future__ import annotations

from infra.addresses import url
from infra.sections.base import Port, Section


class DashboardSettings(Section):
    # Address of the operations pages. Beyond loopback a login is asked for.
    host: str = "127.0.0.1"
    port: Port = 8081

    @property
    def url(self) -> str:
        return url(self.host, self.port)

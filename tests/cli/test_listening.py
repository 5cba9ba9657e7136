"""What keeps a gateway from listening is found before anything else is started, and said in one sentence."""

import re
import socket
from dataclasses import replace

import pytest

from gateway.settings import Listen, Settings
from gateway.supervisor.failure import StartFailed
from gateway.supervisor.listening import open_doors


def settings(listen: Listen, workers: int = 1, admin: Listen | None = None) -> Settings:
    return replace(Settings(), listen=listen, workers=workers, admin=admin)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("holders", [1, 4])
def test_a_second_gateway_on_the_port_is_refused(workers: int, holders: int) -> None:
    with open_doors(settings(Listen("127.0.0.1", 0), holders)) as held:
        port = held.listening[0].getsockname()[1]
        told = f"cannot listen on 127.0.0.1:{port}: port {port} is taken; choose another with --listen HOST:PORT"
        with (
            pytest.raises(StartFailed, match=re.escape(told)),
            open_doors(settings(Listen("127.0.0.1", port), workers)),
        ):
            pass


def test_a_taken_admin_port_names_its_own_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        admin = Listen("127.0.0.1", held.getsockname()[1])
        with pytest.raises(StartFailed, match="--admin"), open_doors(settings(Listen("127.0.0.1", 0), 2, admin)):
            pass


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_refused(host: str) -> None:
    with (
        pytest.raises(StartFailed, match=f"cannot listen on {host}:80.*--listen"),
        open_doors(settings(Listen(host, 80))),
    ):
        pass


@pytest.mark.parametrize("workers", [1, 3])
def test_the_real_port_is_known_when_0_was_asked_for(workers: int) -> None:
    asked = settings(Listen("127.0.0.1", 0), workers, Listen("127.0.0.1", 0))
    with open_doors(asked) as doors:
        bound = doors.as_bound(asked)
        assert len(doors.listening) == workers
        assert {sock.getsockname()[1] for sock in doors.listening} == {bound.listen.port}
        assert bound.admin is not None
        assert bound.admin.port not in (0, bound.listen.port)


def test_every_ipv6_address_includes_ipv4() -> None:
    with open_doors(settings(Listen("::", 0))) as doors:
        port = doors.listening[0].getsockname()[1]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()

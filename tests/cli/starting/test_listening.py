"""What keeps a gateway from listening is found before anything else is started, and said in one sentence."""

import re
import socket
from dataclasses import replace

import pytest

from gateway.settings import Listen, Settings
from gateway.supervisor.failure import StartFailed
from gateway.supervisor.inheritance import Inheritance
from gateway.supervisor.listening import open_doors
from tests.cli import conftest
from tests.cli.conftest import Start
from tests.fakes.ports import free_port


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


# Sockets that are there already ---------------------------------------------------------------------


def a_socket(*, share_port: bool = True) -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), reuse_port=share_port)


@pytest.mark.parametrize(("there", "workers"), [(1, 1), (1, 3), (3, 3), (3, 1)])
def test_a_predecessors_sockets_are_used_and_others_bound_beside_them(there: int, workers: int) -> None:
    with a_socket() as first:
        port = first.getsockname()[1]
        more = [socket.create_server(("127.0.0.1", port), reuse_port=True) for _ in range(there - 1)]
        inherited = Inheritance((first, *more))
        with open_doors(settings(Listen("127.0.0.1", port), workers), inherited) as doors:
            assert len(set(doors.listening)) == workers
            assert set(inherited.listen[:workers]) <= set(doors.listening)
            assert {sock.getsockname()[1] for sock in doors.listening} == {port}
            assert all(sock.fileno() == -1 for sock in inherited.listen[workers:])


def test_what_the_settings_no_longer_want_is_closed() -> None:
    """Or callers would wait there for nobody."""
    with a_socket() as one, a_socket() as admin, open_doors(settings(Listen("127.0.0.1", 0)), Inheritance()) as other:
        elsewhere = Listen("127.0.0.2", 0)
        with open_doors(settings(elsewhere, admin=elsewhere), Inheritance((one,), (admin,))) as doors:
            assert one.fileno() == admin.fileno() == -1
            assert doors.as_bound(settings(elsewhere)).listen.port != other.as_bound(settings(elsewhere)).listen.port


@pytest.mark.parametrize("workers", [1, 3])
def test_a_socket_of_systemds_is_shared_whatever_the_settings_say(workers: int) -> None:
    with a_socket(share_port=False) as given:
        asked = settings(Listen("127.0.0.2", 1), workers)
        with open_doors(asked, Inheritance((given,), given=frozenset({"listen"}))) as doors:
            assert doors.listening == (given,) * workers
            assert doors.as_bound(asked).listen == Listen("127.0.0.1", given.getsockname()[1])
            assert not doors.alone(given), "its queue is not ours to close"


def test_an_admin_socket_is_not_passed_over() -> None:
    with a_socket() as given, pytest.raises(StartFailed, match="the settings want none"):
        open_doors(settings(Listen("127.0.0.1", 0)), Inheritance((), (given,), frozenset({"admin"}))).__enter__()


def test_a_gateway_of_tests_whose_port_somebody_took_starts_on_another(
    start_gateway: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [taken.getsockname()[1]]
        monkeypatch.setattr(conftest, "free_port", lambda: ports.pop() if ports else free_port())
        assert start_gateway("--store", "local").get("/hello").status == 200

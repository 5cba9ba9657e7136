"""Which credentials an upstream is shown, where they stand, and what of the caller's they replace."""

import pickle
from dataclasses import asdict, replace

import pytest

from gateway.core.access.credentials import Credential, OAuth, chosen, in_order, with_parameter
from gateway.core.access.hidden import Hidden
from gateway.core.ask import Ask
from gateway.core.caller import ask_for
from gateway.core.policy import Match, PolicySet, Route
from gateway.core.preview.policy_diff import Field, diff
from gateway.core.problems import CREDENTIALS_MISSING, Refusal
from gateway.core.retry import Retry
from gateway.core.upstream import Upstream

EVERYBODY = Credential("shared", "erp", header="Authorization", shown=Hidden("Bearer all"))
C1 = Credential("c1", "erp", (("connection", "c1"),), header="X-Api-Key", shown=Hidden("one"))
ACME_C1 = Credential(
    "acme-c1", "erp", (("connection", "c1"), ("tenant", "acme")), parameter="key", shown=Hidden("a%2Fb")
)


def test_the_most_specific_one_that_fits() -> None:
    credentials = in_order([EVERYBODY, C1, ACME_C1])
    assert chosen(credentials, {"connection": "c1", "tenant": "acme"}) is ACME_C1
    assert chosen(credentials, {"connection": "c1", "tenant": "other"}) is C1
    assert chosen(credentials, {"connection": "c1"}) is C1
    assert chosen(credentials, {"connection": "c2", "tenant": "acme"}) is EVERYBODY
    assert chosen(credentials, {}) is EVERYBODY
    assert chosen([C1], {}) is None


def test_what_is_sent_and_what_it_replaces() -> None:
    assert EVERYBODY.line() == b"Authorization: Bearer all\r\n"
    assert EVERYBODY.replaces == {b"authorization"}
    assert C1.line() == b"X-Api-Key: one\r\n"
    assert C1.replaces == {b"authorization", b"x-api-key", b"x_api-key", b"x-api_key", b"x_api_key"}
    assert ACME_C1.line() == b""
    assert ACME_C1.replaces == {b"authorization"}
    renewed = replace(EVERYBODY, shown=Hidden("Bearer "), oauth=OAuth("client_credentials", "http://a", "id"))
    assert renewed.line() == b""
    assert renewed.line("abc") == b"Authorization: Bearer abc\r\n"
    assert [one.lasting for one in (EVERYBODY, C1, ACME_C1, renewed)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/a", "/a?key=a%2Fb"),
        ("/a?", "/a?key=a%2Fb"),
        ("/a?x=1&y", "/a?x=1&y&key=a%2Fb"),
        ("/a?key=theirs", "/a?key=a%2Fb"),
        ("/a?x=1&KEY=theirs&k%65y=theirs&+key=theirs&y=?2", "/a?x=1&y=?2&key=a%2Fb"),
        ("/a?x=1;key=theirs;y=2", "/a?x=1;y=2&key=a%2Fb"),
        ("/a?keys=1&&=", "/a?keys=1&&=&key=a%2Fb"),
    ],
)
def test_one_parameter_of_that_name_and_it_is_ours(target: str, sent: str) -> None:
    assert with_parameter(target, ACME_C1) == sent
    assert with_parameter(sent, ACME_C1) == sent  # a second attempt


def test_a_secret_shows_itself_to_nobody() -> None:
    one = Hidden("s3cr3t")
    assert "s3cr3t" not in f"{one} {one!r} {EVERYBODY} {asdict(C1)}"
    assert one == Hidden("s3cr3t") == pickle.loads(pickle.dumps(one))
    assert hash(one) == hash(Hidden("s3cr3t"))
    assert one != Hidden("other")
    assert one != "s3cr3t"
    assert (bool(one), bool(Hidden(""))) == (True, False)


def policies(*credentials: Credential, optional: bool = False) -> PolicySet:
    upstream = Upstream("erp", "https", "h", 443, "h", credentials=credentials, credentials_optional=optional)
    named = {one.name: one for one in credentials}
    return PolicySet("1", (Route("all", Match(), upstream),), {}, {}, {"erp": upstream}, credentials=named)


def asked(of: PolicySet, **values: str) -> Ask | Refusal:
    return ask_for(of, of.routes[0], None, values)


def test_callers_without_any_are_refused_or_passed_on() -> None:
    found = asked(policies(C1), connection="c1")
    assert isinstance(found, Ask)
    assert found.credential is C1
    refused = asked(policies(C1), connection="c2")
    assert isinstance(refused, Refusal)
    assert refused.kind is CREDENTIALS_MISSING
    for other in (policies(C1, optional=True), policies()):
        passed = asked(other, connection="c2")
        assert isinstance(passed, Ask)
        assert passed.credential is None


def test_what_renewed_tokens_mean_for_a_route_and_its_callers() -> None:
    renewed = replace(C1, oauth=OAuth("client_credentials", "http://a", "id"))
    of = policies(renewed)
    found = asked(of, connection="c1")
    assert isinstance(found, Ask)
    assert (found.beforehand, found.empty) == (True, False)
    assert (of.routes[0].watched, of.routes[0].keep_bytes) == ({401}, 1024 * 1024)
    retried = replace(of.routes[0], retry=Retry("r", 2, statuses=frozenset({503}), max_body_bytes=7))
    assert (retried.watched, retried.keep_bytes) == ({401, 503}, 7)
    plain = policies(C1).routes[0]
    assert (plain.watched, plain.keep_bytes) == (frozenset(), 0)


def test_another_secret_is_a_difference_whose_values_are_not_told() -> None:
    other = Credential("c1", "erp", (("connection", "c1"),), header="X-Api-Key", shown=Hidden("two"))
    (found,) = diff(policies(C1), policies(other))
    assert (found.section, found.name, found.fields) == ("credentials", "c1", (Field("shown", None, None),))
    assert diff(policies(C1), policies(C1)) == ()

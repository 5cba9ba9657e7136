"""Error replies, as servers really word them, and what they mean for the store."""

import pytest

from gateway.store.connection.faults import fault_of, in_words, is_about_the_store, needs_redial

WRAPPED_OOM = (
    "ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): @user_script:1: "
    "@user_script: 1: -OOM command not allowed when used memory > 'maxmemory'. "
)


@pytest.mark.parametrize(
    ("text", "kind", "whole_store", "redial"),
    [
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", "busy", True, False),
        ("LOADING Redis is loading the dataset in memory", "busy", True, False),
        ("READONLY You can't write against a read only replica. script: 6b1, on @user_script:1.", "other", True, True),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "other", True, True),
        ("NOAUTH Authentication required.", "other", True, True),
        ("NOPERM this user has no permissions to run the 'evalsha' command", "other", True, True),
        ("OOM command not allowed when used memory > 'maxmemory'.", "other", True, False),
        (WRAPPED_OOM, "other", True, False),
        (
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist",
            "other",
            True,
            False,
        ),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "script", False, False),
        ("ERR user_script:3: attempt to index a nil value", "script", False, False),
        ("NOSCRIPT No matching script. Please use EVAL.", "script", False, False),
        ("CROSSSLOT Keys in request don't hash to the same slot", "script", False, False),
    ],
)
def test_meaning(text, kind, whole_store, redial):
    fault = fault_of(text)
    assert fault.kind == kind
    assert is_about_the_store(fault) is whole_store
    assert needs_redial(fault) is redial


def test_a_full_server_is_told_in_plain_words():
    sha = "62379d309fa59d7add69f1c45ad21838a76ef4df"
    said = f"OOM command not allowed when used memory > 'maxmemory'. script: {sha}, on @user_script:154."
    assert fault_of(said).detail == "OOM command not allowed when used memory > 'maxmemory': its memory is full"
    assert fault_of(WRAPPED_OOM).detail.endswith("'maxmemory': its memory is full")
    read_only = fault_of(f"READONLY You can't write against a read only replica. script: {sha}, on @user_script:1.")
    assert read_only.detail == "READONLY You can't write against a read only replica."
    assert sha in fault_of(f"ERR user_script:3: no such thing script: {sha}, on @user_script:3.").detail


def test_arguments_quoted_by_the_server_are_left_out():
    fault = fault_of("ERR unknown command 'EVALSHA', with args beginning with: '6b1' '1' 'gw:w:{=acme}'")
    assert "acme" not in str(fault)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "ERR unknown command 'EVALSHA', with args beginning with: '6b1'",
            "ERR unknown command 'EVALSHA': a Sentinel?",
        ),
        ("unknown command `SELECT`, with args beginning with: `1`, ", "unknown command `SELECT`: a Sentinel?"),
        ("unknown command 'SENTINEL', with args beginning with: 'main' ", "unknown command 'SENTINEL': no Sentinel,"),
        ("unknown command 'XAUTOCLAIM', with args beginning with: 'q' ", "unknown command 'XAUTOCLAIM'"),
    ],
)
def test_the_reply_of_another_kind_of_server_comes_with_a_hint(text, told):
    """Versions differ in their quotation marks."""
    assert in_words(text).startswith(told)
    assert "with args" not in in_words(text)

"""What is measured: the gateway and other ways to put a limit in front of an API. One module each, one `Peer` each."""
